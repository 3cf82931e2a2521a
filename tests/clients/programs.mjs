// Starts what a test runs against: a whole cluster on a tiny model, or a gateway before a router whose answers
// are known. Programs come from TESSERA_BIN.

import assert from "node:assert/strict";
import { spawn, execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

const bin = process.env.TESSERA_BIN;
const patience = 120_000;

function program(name) {
  return path.join(bin, name);
}

// Asks `question` until it has an answer that is neither false nor undefined.
export async function until(question, what) {
  const deadline = Date.now() + patience;
  for (;;) {
    let answer;
    try {
      answer = await question();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Asks a process to end, which it does by itself and well: a sanitizer that found something shows here.
async function end(child, log) {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    await exit;
  }
  assert.deepEqual({ code: child.exitCode, signal: child.signalCode }, { code: 0, signal: null }, log?.());
}

function temporaryFolder() {
  return mkdtempSync(path.join(tmpdir(), "tessera-clients-"));
}

function writeModel(folder, context) {
  execFileSync(program("tests_write_tiny_model"), [folder, String(context)]);
}

// Value of one sample of /metrics, with its labels or without; all samples of the name that have such labels are added up.
export function metric(text, name, labels = {}) {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  let sum;
  for (const line of text.split("\n")) {
    if (!line.startsWith(name)) continue;
    const after = line[name.length];
    if (after !== " " && after !== "{" && !name.endsWith("}")) continue;
    if (!wanted.every((label) => line.includes(`{${label}`) || line.includes(`,${label}`))) continue;
    sum = (sum ?? 0) + Number(line.slice(line.lastIndexOf(" ") + 1));
  }
  return sum;
}

// What both kinds of server have.
class Server {
  constructor(folder) {
    this.folder = folder;
    this.model = "tiny";
  }
  get url() {
    return `http://${this.http}`;
  }
  async metrics() {
    return (await fetch(`${this.url}/metrics`)).text();
  }
  async awaitReady() {
    await until(async () => (await fetch(`${this.url}/readyz`)).status === 200, "/readyz");
  }
  // No request is left.
  async awaitIdle() {
    await until(async () => metric(await this.metrics(), "tessera_num_requests_running") === 0, "idleness");
  }
}

class Cluster extends Server {
  processes() {
    return JSON.parse(readFileSync(path.join(this.folder, "state/cluster.json"), "utf8")).processes;
  }
  process(id) {
    return this.processes().find((process) => process.id === id);
  }
  // Sum of a metric over the processes of a role.
  async sumOf(role, name) {
    let sum = 0;
    for (const { role: its, admin } of this.processes()) {
      if (its === role) sum += metric(await (await fetch(`http://${admin}/metrics`)).text(), name) ?? 0;
    }
    return sum;
  }
  async stop() {
    await end(this.child);
    const logs = path.join(this.folder, "state/logs");
    for (const file of readdirSync(logs)) {
      const log = readFileSync(path.join(logs, file), "utf8");
      assert.ok(!/Sanitizer|runtime error:/.test(log), `${file}:\n${log}`);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

// `tessera up` on a tiny model with `context` tokens, or on the checkpoint in the folder `model`.
export async function startCluster({ shards = 2, context = 512, model, flags = [] } = {}) {
  const cluster = new Cluster(temporaryFolder());
  if (model === undefined) {
    model = path.join(cluster.folder, "tiny");
    writeModel(model, context);
  }
  cluster.child = spawn(
    program("tessera"),
    ["up", `--model=${model}`, `--shards=${shards}`, "--port=0", `--state_dir=${cluster.folder}/state`, ...flags],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const words = createInterface({ input: cluster.child.stdout });
  let said = "";
  await new Promise((resolve, reject) => {
    words.on("line", (line) => {
      said += `${line}\n`;
      if (line.startsWith("ready;")) resolve();
    });
    cluster.child.once("exit", () => reject(new Error(`tessera up ended:\n${said}`)));
  });
  const gateway = cluster.process("gateway-0");
  cluster.http = gateway.http;
  cluster.grpc = gateway.grpc;
  cluster.gatewayPid = gateway.pid;
  await cluster.awaitReady();
  return cluster;
}

class EchoGateway extends Server {
  // See echo_router.cc.
  async tell(command) {
    this.router.stdin.write(`${command}\n`);
    return (await this.answers.next()).value;
  }
  // Nor does the router run one: the word that a client left may still be on its way there.
  async awaitIdle() {
    await super.awaitIdle();
    await until(async () => (await this.tell("running")) === "0", "the router's idleness");
  }
  async stop() {
    await this.tell("release");
    await end(this.gateway, () => this.log);
    this.router.stdin.end();
    if (this.router.exitCode === null) await once(this.router, "exit");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

// A gateway before an echo router; `config` is merged into its configuration.
export async function startEchoGateway({ context = 4096, config = {} } = {}) {
  const server = new EchoGateway(temporaryFolder());
  const model = path.join(server.folder, "tiny");
  writeModel(model, context);
  server.router = spawn(program("tests_echo_router"), { stdio: ["pipe", "pipe", "inherit"] });
  server.answers = createInterface({ input: server.router.stdout })[Symbol.asyncIterator]();
  const endpoints = path.join(server.folder, "endpoints.json");
  writeFileSync(
    path.join(server.folder, "gateway.json"),
    JSON.stringify({
      model,
      http_listen: "127.0.0.1:0",
      grpc_listen: "127.0.0.1:0",
      admin_listen: "127.0.0.1:0",
      endpoints_file: endpoints,
      router_addresses: [(await server.answers.next()).value],
      drain_seconds: 1,
      ...config,
    }),
  );
  server.gateway = spawn(program("tessera-gateway"), [`--config=${server.folder}/gateway.json`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  server.log = "";
  server.gateway.stderr.on("data", (data) => (server.log += data));
  server.gatewayPid = server.gateway.pid;
  const listens = await until(() => {
    if (server.gateway.exitCode !== null) throw new Error(`the gateway ended:\n${server.log}`);
    return existsSync(endpoints) && JSON.parse(readFileSync(endpoints, "utf8"));
  }, "the gateway's endpoints");
  Object.assign(server, { http: listens.http, grpc: listens.grpc });
  await server.awaitReady();
  await server.tell("announce 4000000000"); // it says it once, and requests are counted against that
  return server;
}

// Resident bytes of a process.
export function residentBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
}
