// gRPC clients from the outside: @grpc/grpc-js with the project's protos, and `buf curl`, which knows a server by its
// reflection alone.

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { startCluster, startEchoGateway } from "./programs.mjs";

const protos = path.join(process.env.TESSERA_SOURCES, "protos");
const definition = loader.loadSync("tessera/v1/inference.proto", { includeDirs: [protos], keepCase: true, longs: Number, defaults: true });
const { Inference } = grpc.loadPackageDefinition(definition).tessera.v1;
const { GRPCInferenceService } = grpc.loadPackageDefinition(
  loader.loadSync("inference/grpc_service.proto", { includeDirs: [protos], keepCase: true, longs: Number, defaults: true, oneofs: true })).inference;
const health = grpc.loadPackageDefinition(loader.fromJSON({
  nested: { grpc: { nested: { health: { nested: { v1: { nested: {
    HealthCheckRequest: { fields: { service: { type: "string", id: 1 } } },
    HealthCheckResponse: { fields: { status: { type: "int32", id: 1 } } },
    Health: { methods: { Check: { requestType: "HealthCheckRequest", responseType: "HealthCheckResponse" } } },
  } } } } } } },
})).grpc.health.v1;

let cluster, server, inference;
before(async () => {
  cluster = await startCluster();
  server = await startEchoGateway();
  inference = new Inference(cluster.grpc, grpc.credentials.createInsecure());
});
after(async () => {
  inference?.close();
  await cluster?.stop();
  await server?.stop();
});

async function collect(call) {
  const messages = [];
  for await (const message of call) messages.push(message);
  return messages;
}
function ask(client, method, request) {
  return new Promise((resolve, reject) =>
    client[method](request, (error, reply) => (error ? reject(error) : resolve(reply))));
}

test("ids in, ids out, the same as over REST", async () => {
  const options = { temperature: 0, max_tokens: 12, ignore_eos: true };
  const messages = await collect(inference.GenerateTokens({ model: "tiny", prompt_token_ids: [20, 21, 22], options }));
  const ids = messages.flatMap((message) => message.token_ids);
  assert.equal(ids.length, 12);
  const rest = await fetch(`${cluster.url}/v1/completions`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", prompt: [20, 21, 22], return_token_ids: true, ...options }) });
  assert.deepEqual((await rest.json()).choices[0].token_ids, ids);
  const { usage } = messages.at(-1);
  assert.equal(usage.prompt_tokens, 3);
  assert.equal(usage.completion_tokens, 12);
  assert.deepEqual(messages.map((message) => message.finish_reason).filter((reason) => reason !== ""), ["length"]);
});

test("a chat is the one of REST", async () => {
  const options = { temperature: 1, seed: 9, max_tokens: 20 };
  const messages = await collect(inference.Chat({ model: "tiny", messages: [{ role: "user", content: "Hi" }], options }));
  const rest = await fetch(`${cluster.url}/v1/chat/completions`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages: [{ role: "user", content: "Hi" }], ...options }) });
  assert.equal(messages.map((message) => message.text).join(""), (await rest.json()).choices[0].message.content);
});

test("tools: calls, results and their end are those of REST, streamed", async () => {
  const client = new Inference(server.grpc, grpc.credentials.createInsecure());
  const weather = { type: "function", function: { name: "weather", description: "of a city",
    parameters: { type: "object", properties: { city: { type: "string" } } } } };
  const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call>';
  const said = { role: "user", content: `say: ${call}` };
  const rest = async (messages) => (await (await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages, tools: [weather] }) })).json()).choices[0];
  const chat = (messages, more = {}) => collect(client.Chat({ messages, tools_json: [JSON.stringify(weather)], ...more }));

  const replies = await chat([said]);
  const parts = replies.flatMap((reply) => reply.tool_calls);
  const { message, finish_reason: finish } = await rest([said]);
  assert.equal(parts[0].name, "weather");
  assert.match(parts[0].id, /^call_[0-9a-f]{24}$/);
  assert.ok(parts.length > 1, "arguments come behind the name");
  for (const part of parts.slice(1)) assert.deepEqual([part.index, part.id, part.name], [0, "", ""]);
  const spoken = parts.map((part) => part.arguments).join("");
  assert.equal(spoken, message.tool_calls[0].function.arguments);
  assert.deepEqual(JSON.parse(spoken), { city: "Zürich" });
  assert.deepEqual(replies.map((reply) => reply.finish_reason).filter((reason) => reason !== ""), [finish]);

  const [{ id, name }] = parts;
  const back = await chat([said, { role: "assistant", tool_calls: [{ id, name, arguments: spoken }] },
    { role: "tool", tool_call_id: id, content: "sunny" }]);
  assert.equal(back.map((reply) => reply.text).join(""), "You said: sunny");
  const without = await chat([said], { tool_choice: "none" });
  assert.equal(without.map((reply) => reply.text).join(""), call);
  await assert.rejects(chat([said], { tool_choice: "required" }), { code: grpc.status.INVALID_ARGUMENT });
  client.close();
});

test("texts, tokens, models", async () => {
  const text = await collect(inference.Complete({ model: "tiny", prompt: "a", options: { max_tokens: 3, ignore_eos: true } }));
  assert.equal(text.at(-1).usage.completion_tokens, 3);
  assert.deepEqual((await ask(inference, "Tokenize", { model: "tiny", text: "ab" })).token_ids, [113, 114]);
  const { models } = await ask(inference, "ListModels", {});
  assert.deepEqual(models.map((model) => [model.id, model.context_max]), [["tiny", 512]]);
});

test("a model without a name is the one that is served, as over REST", async () => {
  const [message] = await collect(inference.Complete({ prompt: "a", options: { max_tokens: 1, temperature: 0 } }));
  assert.equal(message.finish_reason === "" || message.finish_reason === "length", true);
  assert.deepEqual((await ask(inference, "Tokenize", { text: "ab" })).token_ids, [113, 114]);
});

test("KServe's six calls", async () => {
  const kserve = new GRPCInferenceService(cluster.grpc, grpc.credentials.createInsecure());
  assert.equal((await ask(kserve, "ServerLive", {})).live, true);
  assert.equal((await ask(kserve, "ServerReady", {})).ready, true);
  assert.equal((await ask(kserve, "ModelReady", { name: "tiny" })).ready, true);
  await assert.rejects(ask(kserve, "ModelReady", { name: "other" }), { code: grpc.status.NOT_FOUND });
  assert.equal((await ask(kserve, "ServerMetadata", {})).name, "tessera");
  const metadata = await ask(kserve, "ModelMetadata", { name: "tiny" });
  assert.equal(metadata.name, "tiny");
  assert.ok(metadata.inputs.some(({ name, datatype }) => name === "text_input" && datatype === "BYTES"));
  assert.ok(metadata.outputs.some(({ name, datatype }) => name === "text_output" && datatype === "BYTES"));
  const reply = await ask(kserve, "ModelInfer", { model_name: "tiny", id: "mine", inputs: [
    { name: "text_input", datatype: "BYTES", shape: [1], contents: { bytes_contents: [Buffer.from("abc")] } },
    { name: "max_tokens", datatype: "INT32", shape: [1], contents: { int_contents: [6] } },
    { name: "temperature", datatype: "FP32", shape: [1], contents: { fp32_contents: [0] } }] });
  assert.equal(reply.id, "mine");
  const output = reply.outputs.findIndex(({ name }) => name === "text_output");
  const bytes = reply.outputs[output].contents?.bytes_contents?.[0] ?? reply.raw_output_contents[output].subarray(4);
  const rest = await fetch(`${cluster.url}/v1/completions`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "abc", max_tokens: 6, temperature: 0 }) });
  assert.equal(bytes.toString(), (await rest.json()).choices[0].text);
  await assert.rejects(ask(kserve, "ModelInfer", { model_name: "tiny", inputs: [] }), { code: grpc.status.INVALID_ARGUMENT });
  kserve.close();
});

test("errors have their codes", async () => {
  const options = { max_tokens: 4 };
  const chat = (request) => collect(inference.Chat(request));
  const messages = [{ role: "user", content: "Hi" }];
  await assert.rejects(chat({ model: "other", messages, options }), { code: grpc.status.NOT_FOUND });
  await assert.rejects(chat({ model: "tiny", messages: [], options }), { code: grpc.status.INVALID_ARGUMENT });
  await assert.rejects(chat({ model: "tiny", messages, options: { temperature: 9 } }), { code: grpc.status.INVALID_ARGUMENT });
  await assert.rejects(
    collect(inference.GenerateTokens({ model: "tiny", prompt_token_ids: [99999], options })), { code: grpc.status.INVALID_ARGUMENT });
});

test("an error says what REST says, and when to come back", async () => {
  const client = new Inference(server.grpc, grpc.credentials.createInsecure());
  const detailsOf = async (request) => {
    const error = await collect(client.Complete(request)).then(() => assert.fail("it was answered"), (error) => error);
    return error.metadata.get("grpc-status-details-bin")[0].toString("latin1");
  };
  const wrong = await detailsOf({ prompt: "a", options: { temperature: 9 } });
  assert.match(wrong, /google\.rpc\.ErrorInfo/);
  assert.match(wrong, /param[^]*temperature/);
  assert.match(await detailsOf({ model: "other", prompt: "a" }), /google\.rpc\.ErrorInfo[^]*model_not_found/);
  client.close();
});

test("a cancelled call and one past its deadline end everywhere", async () => {
  const slow = new Inference(server.grpc, grpc.credentials.createInsecure());
  await server.tell("hold 3");
  const request = { model: "tiny", messages: [{ role: "user", content: "say: long text" }] };
  const cancelled = slow.Chat(request);
  cancelled.on("data", () => cancelled.cancel());
  await assert.rejects(collect(cancelled), { code: grpc.status.CANCELLED });
  await assert.rejects(collect(slow.Chat(request, { deadline: Date.now() + 300 })), { code: grpc.status.DEADLINE_EXCEEDED });
  await server.awaitIdle();
  await server.tell("release");
  slow.close();
});

test("Abort ends a call by its id", async () => {
  const client = new Inference(server.grpc, grpc.credentials.createInsecure());
  await server.tell("hold 3");
  const metadata = new grpc.Metadata();
  metadata.set("x-request-id", "mine");
  const call = client.Chat({ model: "tiny", messages: [{ role: "user", content: "say: long text" }] }, metadata);
  const end = assert.rejects(new Promise((_, reject) => call.on("error", reject)), { code: grpc.status.CANCELLED });
  await new Promise((resolve) => call.once("data", resolve));
  assert.equal((await ask(client, "Abort", { request_id: "mine" })).aborted, 1);
  await end;
  await server.tell("release");
  client.close();
});

test("health", async () => {
  const client = new health.Health(cluster.grpc, grpc.credentials.createInsecure());
  const serving = 1;
  for (const service of ["", "tessera.v1.Inference", "inference.GRPCInferenceService"]) {
    assert.equal((await ask(client, "Check", { service })).status, serving, service);
  }
  await assert.rejects(ask(client, "Check", { service: "nobody" }), { code: grpc.status.NOT_FOUND });
  client.close();
});

test("buf curl lists the methods and calls one", async () => {
  const buf = (...words) => promisify(execFile)(process.execPath, [
    path.join("node_modules", "@bufbuild", "buf", "bin", "buf"), "curl", "--http2-prior-knowledge", "--protocol", "grpc", ...words]);
  const { stdout: methods } = await buf("--list-methods", `http://${cluster.grpc}`);
  const expected = {
    "tessera.v1.Inference": ["Chat", "Complete", "GenerateTokens", "Tokenize", "ListModels", "Abort"],
    "inference.GRPCInferenceService": ["ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"],
    "grpc.health.v1.Health": ["Check", "Watch"],
  };
  for (const [service, names] of Object.entries(expected)) {
    for (const name of names) assert.ok(methods.split("\n").includes(`${service}/${name}`), methods);
  }
  const { stdout: reply } = await buf("-d", '{"model":"tiny","text":"ab"}', `http://${cluster.grpc}/tessera.v1.Inference/Tokenize`);
  assert.deepEqual(JSON.parse(reply), { tokenIds: [113, 114] });
});
