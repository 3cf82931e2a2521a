// The chat's parts without a page: events, the state of an answer, settings.

import assert from "node:assert/strict";
import { test } from "node:test";
import { errorOf } from "../page/api.js";
import { applyChunk, metaOf, newAnswer, requestOf, speedOf } from "../page/chat_state.js";
import { SettingsStore, readSettings } from "../page/settings.js";
import { SseReader } from "../page/sse.js";

test("events are the same however the text is cut", () => {
  const text = 'data: {"a":1}\r\n\r\n: ping\n\nevent: x\ndata:two\ndata: lines\n\ndata: [DONE]\n\n';
  const expected = ['{"a":1}', "two\nlines", "[DONE]"];
  assert.deepEqual(new SseReader().push(text), expected);
  for (let cut = 1; cut < text.length; ++cut) {
    const reader = new SseReader();
    assert.deepEqual([...reader.push(text.slice(0, cut)), ...reader.push(text.slice(cut))], expected, String(cut));
  }
  const reader = new SseReader();
  assert.deepEqual([...text].flatMap((letter) => reader.push(letter)), expected);
});

test("an event without its end is none", () => {
  assert.deepEqual(new SseReader().push('data: {"a"'), []);
});

const settings = { temperature: null, maxTokens: null, system: "", tools: null };
function chunk(delta, more = {}) {
  return { choices: [{ index: 0, delta, finish_reason: null }], ...more };
}

test("deltas become an answer", () => {
  const answer = newAnswer(1000);
  applyChunk(answer, chunk({ role: "assistant", content: "" }), 1100);
  assert.equal(answer.firstMs, null);
  applyChunk(answer, chunk({ reasoning_content: "hm" }), 1500);
  applyChunk(answer, chunk({ reasoning: "m" }), 1600);
  applyChunk(answer, chunk({ content: "Hel" }), 2000);
  applyChunk(answer, chunk({ content: "lo" }, { usage: { completion_tokens: 11 } }), 3500);
  applyChunk(answer, { choices: [{ index: 0, delta: {}, finish_reason: "length" }] }, 3600);
  applyChunk(answer, { choices: [], usage: { completion_tokens: 21 } }, 3600);
  assert.deepEqual([answer.reasoning, answer.content, answer.finish, answer.tokens], ["hmm", "Hello", "length", 21]);
  answer.endedMs = 3500;
  assert.equal(speedOf(answer, 99999), 10);
  assert.equal(metaOf(answer, 99999), "cut at the limit of tokens · 21 tokens · 10 tokens/s · first after 0.50 s");
});

test("fragments become calls of tools, in their places", () => {
  const answer = newAnswer(0);
  const call = (index, fields) => applyChunk(answer, chunk({ tool_calls: [{ index, ...fields }] }), 1);
  call(0, { id: "call_a", type: "function", function: { name: "weather", arguments: "" } });
  call(0, { function: { arguments: '{"city":' } });
  call(1, { id: "call_b", type: "function", function: { name: "time", arguments: "{}" } });
  call(0, { function: { arguments: '"Zürich"}' } });
  assert.deepEqual(answer.toolCalls, [
    { id: "call_a", name: "weather", arguments: '{"city":"Zürich"}', result: null },
    { id: "call_b", name: "time", arguments: "{}", result: null },
  ]);
});

test("what is sent: history, results of tools, settings that were set", () => {
  const answer = { ...newAnswer(0), content: "I ask.", reasoning: "secret",
    toolCalls: [{ id: "call_a", name: "f", arguments: "{}", result: "sunny" }, { id: "call_b", name: "g", arguments: "{}", result: null }] };
  const failed = { ...newAnswer(0), error: "no" };
  const body = requestOf([{ role: "user", content: "Hi" }, answer, failed], "m", { ...settings, system: "Be kind." });
  assert.deepEqual(body.messages, [
    { role: "system", content: "Be kind." },
    { role: "user", content: "Hi" },
    { role: "assistant", content: "I ask.", tool_calls: [
      { id: "call_a", type: "function", function: { name: "f", arguments: "{}" } },
      { id: "call_b", type: "function", function: { name: "g", arguments: "{}" } },
    ] },
    { role: "tool", tool_call_id: "call_a", content: "sunny" },
    { role: "tool", tool_call_id: "call_b", content: "(no result)" },
  ]);
  assert.deepEqual(Object.keys(body), ["model", "messages", "stream", "stream_options"]);
  const all = requestOf([], "m", { temperature: 0, maxTokens: 5, system: "", tools: [{}] });
  assert.deepEqual([all.temperature, all.max_completion_tokens, all.tools], [0, 5, [{}]]);
});

test("settings: empty is the server's choice, nonsense is said", () => {
  assert.deepEqual(readSettings({}), settings);
  assert.deepEqual(readSettings({ temperature: " 0,5 ", maxTokens: "12", system: " s ", tools: '[{"type":"function"}]' }),
    { temperature: 0.5, maxTokens: 12, system: "s", tools: [{ type: "function" }] });
  for (const wrong of [{ temperature: "2.1" }, { temperature: "hot" }, { temperature: "-1" }, { maxTokens: "0" }, { maxTokens: "1.5" },
    { tools: "{" }, { tools: "{}" }]) {
    assert.throws(() => readSettings(wrong), Error, JSON.stringify(wrong));
  }
});

test("settings are kept, and what was kept wrongly is forgotten", () => {
  const kept = new Map();
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  const store = new SettingsStore(storage);
  store.keep({ temperature: "1", maxTokens: "", system: "", tools: "" });
  assert.equal(new SettingsStore(storage).settings.temperature, 1);
  assert.throws(() => store.keep({ temperature: "9" }));
  assert.equal(store.settings.temperature, 1);
  for (const broken of ["{", '{"temperature":"9"}', '{"temperature":7}', "null"]) {
    kept.set("tessera.settings", broken);
    assert.equal(new SettingsStore(storage).settings.temperature, null, broken);
  }
  const refusing = { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("no"); } };
  const forgetful = new SettingsStore(refusing);
  forgetful.keep({ temperature: "1" });
  assert.equal(forgetful.settings.temperature, 1);
});

test("errors have words, whoever wrote them", () => {
  const ours = errorOf(429, '{"error":{"message":"later","type":"rate_limit_error","param":null,"code":"queue_full"}}', "2");
  assert.deepEqual([ours.message, ours.status, ours.code, ours.retryAfter], ["later", 429, "queue_full", "2"]);
  assert.equal(errorOf(502, "<h1>Bad Gateway</h1>").message, "<h1>Bad Gateway</h1>");
  assert.equal(errorOf(502, "").message, "the gateway answered 502");
  assert.equal(errorOf(500, '"text"').message, '"text"');
  assert.equal(errorOf(500, "null").message, "null");
});
