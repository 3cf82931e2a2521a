// A fetch that holds every reply and every stream event against OpenAI's own description of its API, where the
// file TESSERA_OPENAPI_FILE is there, and against a small description of ours elsewhere.

import Ajv from "ajv/dist/2020.js";
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";

// The file mixes OpenAPI 3.0's `nullable` into 3.1.
function rewrite(node) {
  if (Array.isArray(node)) return node.map(rewrite);
  if (node === null || typeof node !== "object") return node;
  const out = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === "discriminator" || key === "example") continue;
    out[key] = key === "enum" || key === "const" || key === "default" ? value : rewrite(value);
  }
  if (out.nullable !== true) return out;
  delete out.nullable;
  if (out.$ref || out.allOf || out.oneOf) return { anyOf: [out, { type: "null" }] };
  if (out.anyOf) out.anyOf = [...out.anyOf, { type: "null" }];
  if (out.type) out.type = [].concat(out.type, "null");
  if (out.enum && !out.enum.includes(null)) out.enum = [...out.enum, null];
  return out;
}

function official(file) {
  const schemas = JSON.parse(readFileSync(file, "utf8")).components.schemas;
  // The first token of an echoed prompt has no logprobs: null in what OpenAI's server says, though not in the file.
  const { logprobs } = schemas.CreateCompletionResponse.properties.choices.items.properties;
  for (const variant of logprobs.anyOf ?? [logprobs]) {
    if (!variant.properties) continue;
    for (const key of ["token_logprobs", "top_logprobs"]) variant.properties[key].items.nullable = true;
  }
  // It describes no chunk of a streamed text completion: the reply, with null where a chunk has nothing to say.
  const chunk = structuredClone(schemas.CreateCompletionResponse);
  chunk.properties.choices.items.properties.finish_reason.nullable = true;
  chunk.properties.usage = { ...chunk.properties.usage, nullable: true };
  schemas.CompletionChunk = chunk;
  return rewrite(schemas);
}

const string = { type: "string" };
const count = { type: "integer", minimum: 0 };
function object(properties, optional = []) {
  return { type: "object", properties, required: Object.keys(properties).filter((key) => !optional.includes(key)) };
}
function orNull(schema) {
  return { anyOf: [schema, { type: "null" }] };
}
function list(items) {
  return { type: "array", items };
}

// What clients cannot do without.
function ours() {
  const usage = object({ prompt_tokens: count, completion_tokens: count, total_tokens: count });
  const head = (name) => ({ id: string, object: { const: name }, created: count, model: string });
  const finish = { enum: ["stop", "length", "tool_calls", "content_filter"] };
  const call = object({ id: string, type: { const: "function" }, function: object({ name: string, arguments: string }) });
  const message = object(
    { role: { const: "assistant" }, content: orNull(string), refusal: orNull(string), tool_calls: list(call) },
    ["tool_calls"],
  );
  const choice = object({ index: count, message, logprobs: orNull({ type: "object" }), finish_reason: finish });
  const delta = object({ role: string, content: orNull(string) }, ["role", "content"]);
  const part = object({ index: count, delta, finish_reason: orNull(finish) });
  const text = object({ index: count, text: string, logprobs: orNull({ type: "object" }), finish_reason: finish });
  const textPart = object({ ...text.properties, finish_reason: orNull(finish) });
  const model = object({ id: string, object: { const: "model" }, created: count, owned_by: string });
  const typed = object({ type: string });
  return {
    CreateChatCompletionResponse: object({ ...head("chat.completion"), choices: list(choice), usage }),
    CreateChatCompletionStreamResponse: object(
      { ...head("chat.completion.chunk"), choices: list(part), usage: orNull(usage) }, ["usage"]),
    CreateCompletionResponse: object({ ...head("text_completion"), choices: list(text), usage }),
    CompletionChunk: object({ ...head("text_completion"), choices: list(textPart) }),
    Response: object({ id: string, object: { const: "response" }, output: list(typed), status: string }),
    ResponseStreamEvent: object({ type: string, sequence_number: count }),
    Model: model,
    ListModelsResponse: object({ object: { const: "list" }, data: list(model) }),
    ErrorResponse: object({ error: object({ message: string, type: string, param: orNull(string), code: orNull(string) }) }),
  };
}

const file = process.env.TESSERA_OPENAPI_FILE ?? "";
export const isOfficial = file !== "" && existsSync(file);
const ajv = new Ajv({ strict: false, validateFormats: false, logger: false });
ajv.addSchema({ $id: "openai", components: { schemas: isOfficial ? official(file) : ours() } });

export function validatorOf(name) {
  return ajv.getSchema(`openai#/components/schemas/${name}`);
}

const replies = {
  "/v1/chat/completions": ["CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"],
  "/v1/completions": ["CreateCompletionResponse", "CompletionChunk"],
  "/v1/responses": ["Response", "ResponseStreamEvent"],
  "/v1/models": ["ListModelsResponse"],
};

function schemasOf(pathname) {
  if (pathname.startsWith("/v1/models/")) return ["Model"];
  return replies[pathname] ?? [];
}

// The events' data, one by one, without [DONE].
export function eventsOf(text) {
  const events = [];
  for (const event of text.split("\n\n")) {
    for (const line of event.split("\n")) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") events.push(JSON.parse(line.slice(6)));
    }
  }
  return events;
}

// Collects what does not hold; check() at the end of a test file. fetch() is for clients.
export class SchemaWatch {
  constructor() {
    this.counts = {};
    this.failures = [];
    this.pending = [];
    this.fetch = this.fetch.bind(this);
  }
  async fetch(input, options) {
    const reply = await fetch(input, options);
    const { pathname } = new URL(typeof input === "string" ? input : (input.url ?? input.href));
    const copy = reply.clone();
    this.pending.push(this.read(pathname, copy));
    return reply;
  }
  async read(pathname, reply) {
    let text;
    try {
      text = await reply.text();
    } catch {
      return; // the client hung up
    }
    if (reply.status >= 400) return this.validate("ErrorResponse", JSON.parse(text));
    const [whole, part] = schemasOf(pathname);
    if (whole === undefined) return;
    if (!reply.headers.get("content-type").includes("event-stream")) return this.validate(whole, JSON.parse(text));
    for (const event of eventsOf(text)) this.validate(event.error && !event.type ? "ErrorResponse" : part, event);
  }
  validate(name, value) {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    const holds = validatorOf(name);
    if (!holds(value)) this.failures.push({ name, value, errors: holds.errors.slice(0, 4) });
  }
  async check(atLeast) {
    await Promise.all(this.pending);
    console.log(isOfficial ? "held against OpenAI's own description:" : "no openapi.json; held against ours:", this.counts);
    assert.deepEqual(this.failures, []);
    for (const name of atLeast) assert.ok(this.counts[name] > 0, `no ${name} was seen`);
  }
}
