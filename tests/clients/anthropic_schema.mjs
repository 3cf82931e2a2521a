// What Anthropic documents of the replies, stream events and errors of its messages, as JSON Schema: written by hand, for
// there is no public file of it. Objects are closed, so that a misspelt member does not pass as an unknown one. The order of
// a stream's events, which a schema cannot say, is checked besides.

import Ajv from "ajv/dist/2020.js";
import assert from "node:assert/strict";

const text = { type: "string" };
const name = { type: "string", minLength: 1 };
const count = { type: "integer", minimum: 0 };
const nullable = (schema) => ({ anyOf: [schema, { type: "null" }] });
const ref = (id) => ({ $ref: `#/$defs/${id}` });

// All members are required but those that end in "?".
function object(members) {
  const properties = {};
  const required = [];
  for (const [key, schema] of Object.entries(members)) {
    const plain = key.replace(/\?$/, "");
    properties[plain] = schema;
    if (plain === key) required.push(key);
  }
  return { type: "object", properties, required, additionalProperties: false };
}
function typed(type, members = {}) {
  return object({ type: { const: type }, ...members });
}

const stopReason = { enum: ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"] };
// The stop sequence is named if, and only if, it is the reason.
const namedStop = {
  if: { properties: { stop_reason: { const: "stop_sequence" } } },
  then: { properties: { stop_sequence: name } },
  else: { properties: { stop_sequence: { type: "null" } } },
};
const envelope = (members) => typed("message", { id: { type: "string", pattern: "^msg_" }, role: { const: "assistant" }, model: name, ...members });

export const messagesSchema = {
  $id: "messages",
  $defs: {
    Usage: object({ input_tokens: count, output_tokens: count, "cache_creation_input_tokens?": nullable(count),
      "cache_read_input_tokens?": nullable(count) }),
    DeltaUsage: object({ output_tokens: count, "input_tokens?": nullable(count), "cache_creation_input_tokens?": nullable(count),
      "cache_read_input_tokens?": nullable(count) }),

    TextBlock: typed("text", { text, "citations?": { type: "null" } }),
    ThinkingBlock: typed("thinking", { thinking: text, signature: text }),
    ToolUseBlock: typed("tool_use", { id: name, name, input: { type: "object" } }),
    Block: { oneOf: [ref("TextBlock"), ref("ThinkingBlock"), ref("ToolUseBlock")] },

    Message: { ...envelope({ content: { type: "array", items: ref("Block") }, stop_reason: stopReason, stop_sequence: nullable(name),
      usage: ref("Usage") }), ...namedStop },
    TokenCount: object({ input_tokens: count }),
    Error: typed("error", {
      error: object({ type: { enum: ["invalid_request_error", "authentication_error", "permission_error", "not_found_error",
        "request_too_large", "rate_limit_error", "api_error", "timeout_error", "overloaded_error"] }, message: name }),
      request_id: nullable(name) }),

    // Blocks of a stream begin empty.
    EmptyBlock: { oneOf: [typed("text", { text: { const: "" }, "citations?": { type: "null" } }),
      typed("thinking", { thinking: { const: "" }, signature: { const: "" } }),
      typed("tool_use", { id: name, name, input: { type: "object", maxProperties: 0 } })] },
    Delta: { oneOf: [typed("text_delta", { text: name }), typed("thinking_delta", { thinking: name }),
      typed("signature_delta", { signature: text }), typed("input_json_delta", { partial_json: text })] },
    Event: { oneOf: [
      typed("message_start", { message: envelope({ content: { type: "array", maxItems: 0 }, stop_reason: { type: "null" },
        stop_sequence: { type: "null" }, usage: ref("Usage") }) }),
      typed("content_block_start", { index: count, content_block: ref("EmptyBlock") }),
      typed("content_block_delta", { index: count, delta: ref("Delta") }),
      typed("content_block_stop", { index: count }),
      typed("message_delta", { delta: { ...object({ stop_reason: stopReason, stop_sequence: nullable(name) }), ...namedStop },
        usage: ref("DeltaUsage") }),
      typed("message_stop"),
      typed("ping"),
      ref("Error"),
    ] },
  },
};

const ajv = new Ajv({ strict: false, logger: false });
ajv.addSchema(messagesSchema);
export function messagesValidator(id) {
  return ajv.getSchema(`messages#/$defs/${id}`);
}

const deltasOf = { text: ["text_delta"], thinking: ["thinking_delta", "signature_delta"], tool_use: ["input_json_delta"] };

// What is wrong with the order of a whole stream's events; undefined: nothing.
//   message_start (content_block_start delta* content_block_stop)* message_delta message_stop
// with pings between, blocks numbered from 0, and an error in place of what is left.
export function orderFault(events) {
  let expected = "start";
  let open;
  let blocks = 0;
  for (const [at, event] of events.entries()) {
    const fault = (why) => `event ${at}, ${event.type}: ${why}`;
    if (expected === "nothing") return fault("the stream had ended");
    if (event.type === "ping") continue;
    if (event.type === "error") {
      expected = "nothing";
      continue;
    }
    if ((event.type === "message_start") !== (expected === "start")) return fault("message_start comes once and first");
    if ((event.type === "message_stop") !== (expected === "stop")) return fault("message_stop comes behind message_delta");
    if (event.type === "message_start") expected = "blocks";
    if (event.type === "message_stop") expected = "nothing";
    if (event.type === "content_block_start") {
      if (open !== undefined) return fault("a block is open");
      if (event.index !== blocks) return fault(`block ${blocks} is next`);
      open = event.content_block.type;
      ++blocks;
    }
    if (event.type === "content_block_delta" || event.type === "content_block_stop") {
      if (open === undefined) return fault("no block is open");
      if (event.index !== blocks - 1) return fault(`block ${blocks - 1} is open`);
      if (event.type === "content_block_stop") open = undefined;
      else if (!deltasOf[open].includes(event.delta.type)) return fault(`a ${event.delta.type} in a block of ${open}`);
    }
    if (event.type === "message_delta") {
      if (open !== undefined) return fault("a block is open");
      expected = "stop";
    }
  }
  return expected === "nothing" ? undefined : "the stream was cut";
}

// The events of a stream: {name: of the event line, data: parsed}.
function eventsOf(stream) {
  return stream.split("\n\n").filter((event) => event !== "" && !event.startsWith(":")).map((event) => ({
    name: /^event: (.*)$/m.exec(event)?.[1], data: JSON.parse(/^data: (.*)$/m.exec(event)[1]) }));
}

// A fetch for Anthropic's client that holds whatever comes against the above; check() at the end of a test file.
export class MessagesWatch {
  constructor() {
    this.counts = {};
    this.failures = [];
    this.pending = [];
    this.fetch = this.fetch.bind(this);
  }
  async fetch(input, options) {
    const reply = await fetch(input, options);
    this.pending.push(this.read(new URL(typeof input === "string" ? input : (input.url ?? input.href)).pathname, reply.clone()));
    return reply;
  }
  async read(pathname, reply) {
    let body;
    try {
      body = await reply.text();
    } catch {
      return; // the client hung up
    }
    if (reply.status >= 400) return this.validate("Error", JSON.parse(body));
    if (pathname.endsWith("/count_tokens")) return this.validate("TokenCount", JSON.parse(body));
    if (!reply.headers.get("content-type").includes("event-stream")) return this.validate("Message", JSON.parse(body));
    const events = eventsOf(body);
    for (const { name: line, data } of events) {
      this.validate("Event", data);
      if (line !== data.type) this.failures.push({ name: "event line", value: { line, data } });
    }
    const fault = orderFault(events.map(({ data }) => data));
    if (fault) this.failures.push({ name: "order", value: fault });
  }
  validate(id, value) {
    this.counts[id] = (this.counts[id] ?? 0) + 1;
    const holds = messagesValidator(id);
    if (!holds(value)) this.failures.push({ name: id, value, errors: holds.errors.slice(0, 6) });
  }
  async check(atLeast) {
    await Promise.all(this.pending);
    console.log("held against our description of Anthropic's messages:", this.counts);
    assert.deepEqual(this.failures, []);
    for (const id of atLeast) assert.ok(this.counts[id] > 0, `no ${id} was seen`);
  }
}
