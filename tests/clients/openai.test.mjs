// The official `openai` client: against a cluster on a tiny model, then against answers that are known.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { metric, startCluster, startEchoGateway, until } from "./programs.mjs";
import { SchemaWatch } from "./schema.mjs";

const watch = new SchemaWatch();
const hi = [{ role: "user", content: "Hi" }];

function clientOf(server, options = {}) {
  return new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused", fetch: watch.fetch, maxRetries: 0, ...options });
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

function contentOf(chunks, index = 0) {
  const parts = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === index);
  return parts.map((choice) => choice.delta.content ?? "").join("");
}

function endsOf(chunks) {
  return chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.finish_reason !== null);
}

describe("a cluster on a tiny model", () => {
  let cluster, client;
  before(async () => {
    cluster = await startCluster();
    client = clientOf(cluster);
  });
  after(() => cluster?.stop());

  test("lists its model", async () => {
    const models = await collect(await client.models.list());
    assert.deepEqual(models.map((model) => model.id), ["tiny"]);
    assert.equal((await client.models.retrieve("tiny")).max_model_len, 512);
  });

  for (const sampling of [{ temperature: 0 }, { temperature: 1, seed: 11 }, { temperature: 1.3, top_p: 0.8, seed: -4 }]) {
    test(`streams what it says without streaming: ${JSON.stringify(sampling)}`, async () => {
      const body = { model: "tiny", messages: hi, max_tokens: 40, ...sampling };
      const whole = await client.chat.completions.create(body);
      const again = await client.chat.completions.create(body);
      assert.equal(again.choices[0].message.content, whole.choices[0].message.content);
      const chunks = await collect(
        await client.chat.completions.create({ ...body, stream: true, stream_options: { include_usage: true } }),
      );
      assert.equal(contentOf(chunks), whole.choices[0].message.content);
      assert.deepEqual(endsOf(chunks).map((choice) => choice.finish_reason), [whole.choices[0].finish_reason]);
      assert.equal(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.created} ${chunk.model}`)).size, 1);
      const last = chunks.at(-1);
      assert.deepEqual(last.choices, []);
      for (const key of ["prompt_tokens", "completion_tokens", "total_tokens"]) {
        assert.equal(last.usage[key], whole.usage[key], key);
      }
      assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
      assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
    });
  }

  test("counts exactly what was asked for", async () => {
    const reply = await client.chat.completions.create({ model: "tiny", messages: hi, max_tokens: 7, ignore_eos: true });
    assert.equal(reply.usage.completion_tokens, 7);
    assert.equal(reply.choices[0].finish_reason, "length");
    const newer = await client.chat.completions.create({
      model: "tiny", messages: hi, max_completion_tokens: 3, max_tokens: 9, ignore_eos: true });
    assert.equal(newer.usage.completion_tokens, 3);
  });

  test("other seeds say other things", async () => {
    const said = await Promise.all([1, 2, 3, 4].map((seed) =>
      client.completions.create({ model: "tiny", prompt: "Hi", max_tokens: 16, temperature: 1, seed, ignore_eos: true })));
    assert.ok(new Set(said.map((reply) => reply.choices[0].text)).size > 1);
  });

  test("logprobs", async () => {
    const body = { model: "tiny", messages: hi, max_tokens: 8, temperature: 0, logprobs: true, top_logprobs: 3, ignore_eos: true };
    const whole = await client.chat.completions.create(body);
    const { content } = whole.choices[0].logprobs;
    assert.equal(content.length, 8);
    for (const entry of content) {
      assert.equal(entry.top_logprobs.length, 3);
      assert.equal(entry.top_logprobs[0].logprob, entry.logprob, "greedy takes the likeliest");
      assert.ok(entry.logprob <= 0 && entry.logprob > -9999);
    }
    const bytes = Buffer.from(content.flatMap((entry) => entry.bytes));
    assert.equal(bytes.toString("utf8"), whole.choices[0].message.content);
    const chunks = await collect(await client.chat.completions.create({ ...body, stream: true }));
    const streamed = chunks.flatMap((chunk) => chunk.choices.flatMap((choice) => choice.logprobs?.content ?? []));
    assert.deepEqual(streamed, content);
  });

  test("several choices, interleaved by index", async () => {
    const body = { model: "tiny", messages: hi, n: 3, max_tokens: 12, temperature: 1, seed: 5 };
    const whole = await client.chat.completions.create(body);
    assert.deepEqual(whole.choices.map((choice) => choice.index), [0, 1, 2]);
    const chunks = await collect(await client.chat.completions.create({ ...body, stream: true }));
    for (const choice of whole.choices) assert.equal(contentOf(chunks, choice.index), choice.message.content);
    assert.equal(endsOf(chunks).length, 3);
    assert.ok(new Set(whole.choices.map((choice) => choice.message.content)).size > 1);
  });

  test("completions: text, ids, several prompts, echo and scores", async () => {
    const several = await client.completions.create({ model: "tiny", prompt: ["a", "b"], n: 2, max_tokens: 3, seed: 1 });
    assert.deepEqual(several.choices.map((choice) => choice.index), [0, 1, 2, 3]);
    const ids = await client.completions.create({ model: "tiny", prompt: [20, 21, 22], max_tokens: 3, temperature: 0 });
    assert.equal(ids.usage.prompt_tokens, 3);
    const scores = await client.completions.create({ model: "tiny", prompt: "abc", max_tokens: 0, echo: true, logprobs: 1 });
    assert.ok(scores.choices[0].text.endsWith("abc"));
    const { token_logprobs: logprobs } = scores.choices[0].logprobs;
    assert.equal(logprobs[0], null);
    assert.ok(logprobs.slice(1).every((logprob) => logprob <= 0));
    const whole = await client.completions.create({ model: "tiny", prompt: "abc", max_tokens: 9, temperature: 0 });
    const chunks = await collect(
      await client.completions.create({ model: "tiny", prompt: "abc", max_tokens: 9, temperature: 0, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), whole.choices[0].text);
  });

  test("responses, streamed and not", async () => {
    const body = { model: "tiny", input: "Hi", max_output_tokens: 20, temperature: 0 };
    const whole = await client.responses.create(body);
    assert.equal(whole.object, "response");
    const events = await collect(await client.responses.create({ ...body, stream: true }));
    const text = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
    assert.equal(text, whole.output_text);
    assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, i) => i));
    assert.ok(["response.completed", "response.incomplete"].includes(events.at(-1).type));
  });

  test("errors have their classes", async () => {
    const ask = (change) => client.chat.completions.create({ model: "tiny", messages: hi, max_tokens: 2, ...change });
    await assert.rejects(ask({ model: "other" }), (error) =>
      error instanceof OpenAI.NotFoundError && error.code === "model_not_found" && error.param === "model");
    await assert.rejects(ask({ temperature: 3 }), (error) =>
      error instanceof OpenAI.BadRequestError && error.param === "temperature" && error.type === "invalid_request_error");
    await assert.rejects(ask({ messages: [{ role: "user", content: "x".repeat(600) }] }), (error) =>
      error instanceof OpenAI.BadRequestError && error.code === "context_length_exceeded");
    await assert.rejects(ask({ max_tokens: 600 }), { code: "context_length_exceeded" });
    await assert.rejects(ask({ stream: true, max_tokens: 600 }), { status: 400, code: "context_length_exceeded" });
    await assert.rejects(ask({ response_format: { type: "json_object" } }), { status: 400, param: "response_format" });
    await assert.rejects(ask({ tool_choice: "required" }), { status: 400, param: "tool_choice" });
    await assert.rejects(ask({ logit_bias: { 100000: 1 } }), { status: 400, param: "logit_bias" });
    await assert.rejects(client.get("/nowhere"), (error) =>
      error instanceof OpenAI.NotFoundError && error.code === "unknown_url");
  });

  test("a request without a model means the served one", async () => {
    const reply = await client.chat.completions.create({ messages: hi, max_tokens: 2 });
    assert.equal(reply.model, "tiny");
    await assert.rejects(client.post("/chat/completions", { body: {} }), { status: 400, param: "messages" });
  });

  test("a request id goes there and back", async () => {
    const own = await client.chat.completions.create(
      { model: "tiny", messages: hi, max_tokens: 1 }, { headers: { "x-request-id": "mine-1" } });
    assert.equal(own._request_id, "mine-1");
    const given = await client.chat.completions.create({ model: "tiny", messages: hi, max_tokens: 1 });
    assert.ok(given._request_id.length > 0);
  });

  test("an abort frees the sequence everywhere", async () => {
    const stream = await client.chat.completions.create({
      model: "tiny", messages: hi, max_tokens: 450, ignore_eos: true, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) break;
    }
    stream.controller.abort();
    const controller = new AbortController();
    const waiting = client.chat.completions.create(
      { model: "tiny", messages: hi, max_tokens: 450, ignore_eos: true }, { signal: controller.signal });
    await until(async () => metric(await cluster.metrics(), "tessera_num_requests_running") > 0, "the request");
    controller.abort();
    await assert.rejects(waiting, OpenAI.APIUserAbortError);
    await cluster.awaitIdle();
    await until(async () => (await cluster.sumOf("router", "tessera_router_sequences_running")) === 0, "an idle router");
  });
});

describe("answers that are known", () => {
  let server, client;
  before(async () => {
    server = await startEchoGateway({ config: { queue: { requests_max: 1 } } });
    client = clientOf(server);
  });
  after(() => server?.stop());

  const say = (text) => [{ role: "user", content: `say: ${text}` }];
  const tool = { type: "function", function: { name: "weather", description: "of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } };
  const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call>';

  test("text of all kinds arrives as it is", async () => {
    for (const text of ["plain", "ünïcödé 漢字 🎉", '"quotes" \\ \u0001 </script>', "a\nb\tc"]) {
      const whole = await client.chat.completions.create({ model: "tiny", messages: say(text) });
      assert.equal(whole.choices[0].message.content, text);
      assert.equal(whole.choices[0].finish_reason, "stop");
      const chunks = await collect(await client.chat.completions.create({ model: "tiny", messages: say(text), stream: true }));
      assert.equal(contentOf(chunks), text);
      assert.equal(chunks[0].choices[0].delta.role, "assistant");
    }
  });

  test("stop strings", async () => {
    const body = { model: "tiny", messages: say("one two three four"), stop: ["three", "zzz"] };
    const whole = await client.chat.completions.create(body);
    assert.equal(whole.choices[0].message.content, "one two ");
    assert.equal(whole.choices[0].finish_reason, "stop");
    assert.equal(contentOf(await collect(await client.chat.completions.create({ ...body, stream: true }))), "one two ");
    const kept = await client.chat.completions.create({ ...body, include_stop_str_in_output: true });
    assert.equal(kept.choices[0].message.content, "one two three");
  });

  test("the stream helper", async () => {
    const stream = client.chat.completions.stream({ model: "tiny", messages: say("hello"), stream_options: { include_usage: true } });
    let seen = "";
    stream.on("content", (delta) => (seen += delta));
    const end = await stream.finalChatCompletion();
    assert.equal(seen, "hello");
    assert.equal(end.choices[0].message.content, "hello");
    assert.equal(end.usage.completion_tokens, 6);
  });

  test("calls of tools, whole and in pieces", async () => {
    const body = { model: "tiny", messages: say(`Let me see.\n${call}`), tools: [tool] };
    const whole = await client.chat.completions.create(body);
    const { message, finish_reason: reason } = whole.choices[0];
    assert.equal(reason, "tool_calls");
    assert.equal(message.content, "Let me see.");
    assert.equal(message.tool_calls[0].function.name, "weather");
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: "Zürich" });
    assert.match(message.tool_calls[0].id, /^call_[0-9a-f]{24}$/);
    const chunks = await collect(await client.chat.completions.create({ ...body, stream: true }));
    const parts = chunks.flatMap((chunk) => chunk.choices.flatMap((choice) => choice.delta.tool_calls ?? []));
    assert.equal(parts.map((part) => part.function.arguments ?? "").join(""), message.tool_calls[0].function.arguments);
    assert.equal(parts.filter((part) => part.id !== undefined).length, 1);
    const none = await client.chat.completions.create({ ...body, tool_choice: "none" });
    assert.equal(none.choices[0].message.tool_calls, undefined);
  });

  for (const stream of [false, true]) {
    test(`the runner of tools, ${stream ? "streaming" : "whole"}`, async () => {
      const cities = [];
      const runner = client.chat.completions.runTools({
        model: "tiny", stream, messages: say(call),
        tools: [{ type: "function", function: { ...tool.function, parse: JSON.parse,
          function: ({ city }) => { cities.push(city); return "sunny"; } } }],
      });
      assert.equal(await runner.finalContent(), "You said: sunny");
      assert.deepEqual(cities, ["Zürich"]);
    });
  }

  test("a refusal says when to come back, and the client does", async () => {
    await server.tell("announce 60");
    await server.tell("hold 1");
    const body = { model: "tiny", messages: say("abc"), max_tokens: 20 };
    const arrived = Number(await server.tell("requests"));
    const first = client.chat.completions.create(body);
    await until(async () => Number(await server.tell("requests")) === arrived + 1, "the first request");
    const second = client.chat.completions.create(body);
    let refused;
    await until(async () => {
      // Whichever comes third is refused; the queue holds one.
      refused = await client.chat.completions.create(body, { timeout: 300 }).catch((error) => error);
      return refused instanceof OpenAI.RateLimitError;
    }, "a refusal");
    assert.equal(refused.code, "queue_full");
    assert.ok(Number(refused.headers.get("retry-after")) >= 1);
    const patient = clientOf(server, { maxRetries: 5 }).chat.completions.create(body);
    await server.tell("announce 100000");
    await server.tell("release");
    for (const reply of await Promise.all([first, second, patient])) assert.equal(reply.choices[0].message.content, "abc");
  });

  test("without a router: 503, and the client comes back", async () => {
    await server.tell("die");
    await until(async () => (await fetch(`${server.url}/readyz`)).status === 503, "the loss");
    const body = { model: "tiny", messages: say("abc") };
    const error = await client.chat.completions.create(body).catch((failure) => failure);
    assert.ok(error instanceof OpenAI.InternalServerError);
    assert.equal(error.status, 503);
    assert.ok(Number(error.headers.get("retry-after")) >= 1);
    const patient = clientOf(server, { maxRetries: 8 }).chat.completions.create(body);
    await server.tell("revive");
    assert.equal((await patient).choices[0].message.content, "abc");
  });
});

test("every reply and every event was as OpenAI's description says", () =>
  watch.check(["CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "CreateCompletionResponse",
    "CompletionChunk", "Response", "ResponseStreamEvent", "Model", "ListModelsResponse", "ErrorResponse"]));
