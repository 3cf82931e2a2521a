// The AI SDK with its provider for servers that speak OpenAI's API.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, stepCountIs, streamText, tool } from "ai";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { z } from "zod";
import { startCluster, startEchoGateway } from "./programs.mjs";
import { SchemaWatch } from "./schema.mjs";

const watch = new SchemaWatch();
let cluster, server;
before(async () => {
  cluster = await startCluster();
  server = await startEchoGateway({ config: { text: { reasoning_parser: "qwen3" } } });
});
after(async () => {
  await cluster?.stop();
  await server?.stop();
});

function modelOf(place) {
  return createOpenAICompatible({ name: "tessera", baseURL: `${place.url}/v1`, fetch: watch.fetch, includeUsage: true })("tiny");
}

const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call>';
const cities = [];
const tools = {
  weather: tool({
    description: "of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      cities.push(city);
      return "sunny";
    },
  }),
};

test("generateText and streamText say the same", async () => {
  const ask = { model: modelOf(cluster), prompt: "Hi", temperature: 0, maxOutputTokens: 30, maxRetries: 0 };
  const whole = await generateText(ask);
  assert.ok(["stop", "length"].includes(whole.finishReason));
  assert.ok(whole.usage.inputTokens > 0 && whole.usage.outputTokens > 0);
  const stream = streamText(ask);
  let text = "";
  for await (const part of stream.textStream) text += part;
  assert.equal(text, whole.text);
  assert.equal(await stream.finishReason, whole.finishReason);
  assert.deepEqual((await stream.usage).outputTokens, whole.usage.outputTokens);
});

test("generateText calls tools and goes on", async () => {
  cities.length = 0;
  const end = await generateText({
    model: modelOf(server), prompt: `say: ${call}`, tools, stopWhen: stepCountIs(3), maxRetries: 0 });
  assert.deepEqual(cities, ["Zürich"]);
  assert.equal(end.steps[0].finishReason, "tool-calls");
  assert.equal(end.text, "You said: sunny");
});

test("streamText calls tools and goes on", async () => {
  cities.length = 0;
  const stream = streamText({
    model: modelOf(server), prompt: `say: ${call}`, tools, stopWhen: stepCountIs(3), maxRetries: 0 });
  const kinds = [];
  for await (const part of stream.fullStream) kinds.push(part.type);
  assert.deepEqual(cities, ["Zürich"]);
  assert.ok(kinds.includes("tool-input-delta") && kinds.includes("tool-call") && !kinds.includes("error"), kinds.join());
  assert.equal(await stream.text, "You said: sunny");
});

test("reasoning is told apart", async () => {
  const end = await generateText({
    model: modelOf(server), prompt: "say: <think>\nwell\n</think>\n\ndone", maxRetries: 0 });
  assert.equal(end.reasoningText, "well");
  assert.equal(end.text, "done");
});

test("errors", async () => {
  const bad = generateText({ model: modelOf(server), prompt: "Hi", temperature: 3, maxRetries: 0 });
  await assert.rejects(bad, (error) =>
    APICallError.isInstance(error) && error.statusCode === 400 && !error.isRetryable && /temperature/.test(error.message));
});

test("an abort ends the request", async () => {
  await server.tell("hold 4");
  const controller = new AbortController();
  const stream = streamText({ model: modelOf(server), prompt: "say: long text", abortSignal: controller.signal, maxRetries: 0 });
  for await (const part of stream.fullStream) {
    if (part.type === "text-delta") controller.abort();
  }
  await server.awaitIdle();
  await server.tell("release");
});

test("every reply and every event was as OpenAI's description says", () =>
  watch.check(["CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "ErrorResponse"]));
