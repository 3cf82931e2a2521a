// Anthropic's official client: messages, whole and streamed; each reply and event is held against anthropic_schema.mjs.

import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MessagesWatch, messagesValidator, orderFault } from "./anthropic_schema.mjs";
import { startCluster, startEchoGateway } from "./programs.mjs";

const watch = new MessagesWatch();
let cluster, server;
before(async () => {
  cluster = await startCluster();
  server = await startEchoGateway({ config: { text: { reasoning_parser: "qwen3" } } });
});
after(async () => {
  await cluster?.stop();
  await server?.stop();
});

function clientOf(place, options = {}) {
  return new Anthropic({ baseURL: place.url, apiKey: "unused", maxRetries: 0, fetch: watch.fetch, ...options });
}
function say(text) {
  return { model: "tiny", max_tokens: 200, messages: [{ role: "user", content: `say: ${text}` }] };
}
// `input_tokens` leaves out what a cache had.
function promptTokens(usage) {
  return usage.input_tokens + (usage.cache_read_input_tokens ?? 0);
}
const weather = { name: "weather", description: "of a city",
  input_schema: { type: "object", properties: { city: { type: "string" } } } };
const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call>';

test("a stream says what a whole reply says", async () => {
  const client = clientOf(cluster);
  const body = { model: "tiny", max_tokens: 30, temperature: 0, messages: [{ role: "user", content: "Hi" }] };
  const whole = await client.messages.create(body);
  assert.equal(whole.type, "message");
  assert.equal(whole.role, "assistant");
  assert.ok(["end_turn", "max_tokens"].includes(whole.stop_reason));
  const stream = client.messages.stream(body);
  const kinds = [];
  let text = "";
  stream.on("streamEvent", (event) => kinds.push(event.type));
  stream.on("text", (delta) => (text += delta));
  const end = await stream.finalMessage();
  assert.deepEqual(end.content, whole.content);
  assert.equal(text, whole.content.map((block) => block.text).join(""));
  assert.equal(end.stop_reason, whole.stop_reason);
  assert.equal(end.usage.output_tokens, whole.usage.output_tokens);
  assert.equal(promptTokens(end.usage), promptTokens(whole.usage));
  assert.equal(kinds[0], "message_start");
  assert.equal(kinds.at(-1), "message_stop");
});

test("tokens are counted", async () => {
  const client = clientOf(cluster);
  const body = { model: "tiny", messages: [{ role: "user", content: "Hi" }] };
  const { input_tokens: count } = await client.messages.countTokens(body);
  const reply = await client.messages.create({ ...body, max_tokens: 1 });
  assert.equal(count, promptTokens(reply.usage));
});

test("stop sequences", async () => {
  const reply = await clientOf(server).messages.create({ ...say("one two three"), stop_sequences: ["two"] });
  assert.equal(reply.stop_reason, "stop_sequence");
  assert.equal(reply.stop_sequence, "two");
  assert.equal(reply.content[0].text, "one ");
});

test("tools: use, result, and the runner", async () => {
  const client = clientOf(server);
  const used = await client.messages.create({ ...say(call), tools: [weather] });
  assert.equal(used.stop_reason, "tool_use");
  const block = used.content.find((part) => part.type === "tool_use");
  assert.deepEqual(block.input, { city: "Zürich" });
  const streamed = await client.messages.stream({ ...say(call), tools: [weather] }).finalMessage();
  assert.deepEqual(streamed.content.find((part) => part.type === "tool_use").input, { city: "Zürich" });
  const answer = await client.messages.create({ ...say(call), tools: [weather], messages: [
    ...say(call).messages,
    { role: "assistant", content: used.content },
    { role: "user", content: [{ type: "tool_result", tool_use_id: block.id, content: "sunny" }] },
  ] });
  assert.equal(answer.content[0].text, "You said: sunny");
});

test("system prompts and thinking", async () => {
  const reply = await clientOf(server).messages.create({ ...say("<think>\nwell\n</think>\n\ndone"), system: "Be kind." });
  assert.deepEqual(reply.content.map((block) => block.type), ["thinking", "text"]);
  assert.equal(reply.content[0].thinking, "well");
  assert.equal(reply.content[1].text, "done");
});

test("thinking, words and calls in one stream are blocks of their own", async () => {
  const message = await clientOf(server).messages.stream({ ...say(`<think>\nwell\n</think>\n\nLet me see. ${call}`), tools: [weather] }).finalMessage();
  assert.deepEqual(message.content.map((block) => block.type), ["thinking", "text", "tool_use"]);
  assert.equal(message.stop_reason, "tool_use");
  const cut = await clientOf(server).messages.stream({ ...say("one two three"), stop_sequences: ["two"] }).finalMessage();
  assert.equal(cut.stop_sequence, "two");
  const short = await clientOf(server).messages.stream({ ...say("one two three"), max_tokens: 2 }).finalMessage();
  assert.equal(short.stop_reason, "max_tokens");
});

test("an error in the middle of a stream is an event", async () => {
  await server.tell("hold 4");
  const stream = clientOf(server).messages.stream(say("long text"), { headers: { "x-request-timeout": "1" } });
  await assert.rejects(stream.done(), /deadline|time/i);
  await server.awaitIdle();
  await server.tell("release");
});

test("errors have their classes", async () => {
  const client = clientOf(server);
  await assert.rejects(client.messages.create({ ...say("x"), model: "other" }), (error) =>
    error instanceof Anthropic.NotFoundError && error.error.type === "error" && error.error.error.type === "not_found_error");
  await assert.rejects(client.messages.create({ ...say("x"), temperature: 2 }), (error) =>
    error instanceof Anthropic.BadRequestError && error.error.error.type === "invalid_request_error");
  await assert.rejects(client.messages.create({ ...say("x"), stream: true, temperature: 2 }), Anthropic.BadRequestError);
});

test("an abort ends the request", async () => {
  await server.tell("hold 4");
  const stream = clientOf(server).messages.stream(say("long text"));
  stream.on("text", () => stream.abort());
  await assert.rejects(stream.done(), Anthropic.APIUserAbortError);
  await server.awaitIdle();
  await server.tell("release");
});

// The description itself would notice what it is there to notice.
test("what is not as documented does not pass", () => {
  const usage = { input_tokens: 1, output_tokens: 1 };
  const message = { id: "msg_1", type: "message", role: "assistant", model: "m", content: [{ type: "text", text: "" }],
    stop_reason: "end_turn", stop_sequence: null, usage };
  const holds = (id, value) => messagesValidator(id)(value);
  assert.ok(holds("Message", message));
  for (const wrong of [{ id: "x" }, { stop_reason: "stop" }, { stop_sequence: "a" }, { stop_reason: "stop_sequence" }, { usage: { input_tokens: 1 } },
    { content: "text" }, { content: [{ type: "tool_use", id: "a", name: "f", input: "{}" }] }, { more: 1 }]) {
    assert.ok(!holds("Message", { ...message, ...wrong }), JSON.stringify(wrong));
  }
  assert.ok(holds("Error", { type: "error", error: { type: "api_error", message: "m" }, request_id: null }));
  assert.ok(!holds("Error", { error: { type: "server_error", message: "m", code: null, param: null } }));
  assert.ok(!holds("Event", { type: "content_block_delta", index: 0, delta: { type: "text_delta", partial_json: "a" } }));
  const start = { type: "message_start" };
  const open = (index, type) => ({ type: "content_block_start", index, content_block: { type } });
  const delta = (index, type) => ({ type: "content_block_delta", index, delta: { type } });
  const close = (index) => ({ type: "content_block_stop", index });
  const end = [{ type: "message_delta" }, { type: "message_stop" }];
  assert.equal(orderFault([start, open(0, "text"), delta(0, "text_delta"), { type: "ping" }, close(0), ...end]), undefined);
  assert.equal(orderFault([start, { type: "error" }]), undefined);
  for (const wrong of [[...end], [start, ...end, { type: "ping" }], [start, open(1, "text"), close(1), ...end], [start, open(0, "text"), ...end],
    [start, open(0, "text"), delta(0, "input_json_delta"), close(0), ...end], [start, delta(0, "text_delta"), ...end], [start, start, ...end],
    [start, open(0, "text"), close(0)], [start, { type: "message_stop" }]]) {
    assert.notEqual(orderFault(wrong), undefined, JSON.stringify(wrong));
  }
});

test("everything was as Anthropic documents it", () => watch.check(["Message", "Event", "TokenCount", "Error"]));
