// A conversation as data: what was said, and what is sent. No DOM.
//
//   chunk of the stream --applyChunk--> answer      messages --requestOf--> body of a request

// A message of the model's while it is written; times are milliseconds of one clock.
export function newAnswer(nowMs) {
  return {
    role: "assistant", content: "", reasoning: "", toolCalls: [], finish: null, tokens: 0, error: null, stopped: false,
    startedMs: nowMs, firstMs: null, endedMs: null,
  };
}

function applyToolCall(answer, { index, id, function: named }) {
  while (answer.toolCalls.length <= index) answer.toolCalls.push({ id: "", name: "", arguments: "", result: null });
  const call = answer.toolCalls[index];
  if (id) call.id = id;
  if (named?.name) call.name += named.name;
  if (named?.arguments) call.arguments += named.arguments;
}

export function applyChunk(answer, chunk, nowMs) {
  const choice = chunk.choices?.[0];
  if (chunk.usage) answer.tokens = chunk.usage.completion_tokens;
  if (choice === undefined) return;
  const delta = choice.delta ?? {};
  const reasoning = delta.reasoning_content ?? delta.reasoning;
  if (reasoning) answer.reasoning += reasoning;
  if (delta.content) answer.content += delta.content;
  for (const call of delta.tool_calls ?? []) applyToolCall(answer, call);
  if (choice.finish_reason) answer.finish = choice.finish_reason;
  if (answer.firstMs === null && (reasoning || delta.content || delta.tool_calls)) answer.firstMs = nowMs;
}

const speedFromMs = 100; // before that it would be a guess

// Tokens per second since the first one; null while there is nothing to divide.
export function speedOf(answer, nowMs) {
  const spent = (answer.endedMs ?? nowMs) - (answer.firstMs ?? nowMs);
  return answer.tokens > 1 && spent >= speedFromMs ? ((answer.tokens - 1) * 1000) / spent : null;
}

const finishes = { length: "cut at the limit of tokens", content_filter: "filtered" };

// The line below an answer.
export function metaOf(answer, nowMs) {
  const parts = [];
  if (answer.stopped) parts.push("stopped");
  if (finishes[answer.finish]) parts.push(finishes[answer.finish]);
  if (answer.tokens > 0) parts.push(`${answer.tokens} token${answer.tokens === 1 ? "" : "s"}`);
  const speed = speedOf(answer, nowMs);
  if (speed !== null) parts.push(`${speed.toFixed(speed < 10 ? 1 : 0)} tokens/s`);
  if (answer.firstMs !== null) parts.push(`first after ${((answer.firstMs - answer.startedMs) / 1000).toFixed(2)} s`);
  return parts.join(" · ");
}

function isWorthTelling(message) {
  return message.role !== "assistant" || message.content !== "" || message.toolCalls.length > 0;
}

// Each call is followed by a result, as templates expect, even if nobody gave one.
function* wireOf(message) {
  if (message.role === "user") yield { role: "user", content: message.content };
  if (message.role !== "assistant") return;
  const calls = message.toolCalls.map(({ id, name, arguments: text }) => (
    { id, type: "function", function: { name, arguments: text } }));
  yield { role: "assistant", content: message.content, ...(calls.length > 0 && { tool_calls: calls }) };
  for (const { id, result } of message.toolCalls) {
    yield { role: "tool", tool_call_id: id, content: result ?? "(no result)" };
  }
}

// The body of the request for the next answer. `settings` as settings.js reads them.
export function requestOf(messages, model, settings) {
  const said = messages.filter(isWorthTelling).flatMap((message) => [...wireOf(message)]);
  const body = {
    model,
    messages: settings.system ? [{ role: "system", content: settings.system }, ...said] : said,
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true },
  };
  if (settings.temperature !== null) body.temperature = settings.temperature;
  if (settings.maxTokens !== null) body.max_completion_tokens = settings.maxTokens;
  if (settings.tools !== null) body.tools = settings.tools;
  return body;
}
