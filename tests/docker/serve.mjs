// serve.mjs ROOT SOURCES USER: the services of compose.yaml, started from the image's programs with the file's commands as its
// user on its read-only root: they become ready, answer, and end by themselves when all are told to. In network and mount
// namespaces of its own, see chroot.mjs; every service has an address where a container would have one.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { graceSeconds, readServices } from "./compose.mjs";

const [root, sources, user] = process.argv.slice(2);
const file = path.join(sources, "docker/compose.yaml");
const patienceMs = 120_000;
const address = (at) => `10.88.0.${at + 2}`;

function mount(...args) {
  execFileSync("mount", args, { stdio: "inherit" });
}

// As the container starts it: {name, child, lines: its log, exited}.
function start({ name, program, args }, at) {
  const config = JSON.parse(readFileSync(path.join(sources, "docker/compose", path.basename(args[0].split("=")[1])), "utf8"));
  // Containers listen at all of their addresses; these share one machine.
  const own = Object.entries(config).filter(([field]) => field.endsWith("_listen"))
    .map(([field, where]) => `--set=${field}=${where.replace("0.0.0.0", address(at))}`);
  const child = spawn("chroot", [`--userspec=${user}`, root, `/usr/bin/${program}`, ...args, ...own],
    { env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }, stdio: ["ignore", "inherit", "pipe"] });
  const service = { name, child, lines: [], admin: config.admin_listen.replace("0.0.0.0", address(at)) };
  createInterface({ input: child.stderr }).on("line", (line) => service.lines.push(line));
  service.exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  return service;
}

async function untilReady(service) {
  const deadline = Date.now() + patienceMs;
  for (let why = "";; ) {
    assert.equal(service.child.exitCode, null, `${service.name} ended:\n${service.lines.join("\n")}`);
    try {
      const reply = await fetch(`http://${service.admin}/readyz`);
      why = await reply.text();
      if (reply.status === 200) return;
    } catch (error) {
      why = String(error.cause ?? error);
    }
    assert.ok(Date.now() < deadline, `${service.name}: ${why}\n${running.flatMap(({ lines }) => lines).join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function answer(text) {
  const reply = await fetch(`http://${address(0)}:8000/v1/chat/completions`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages: [{ role: "user", content: text }] }) });
  const body = await reply.json();
  assert.equal(reply.status, 200, JSON.stringify(body));
  return body.choices[0].message.content;
}

const services = readServices(file);
for (const line of ["link set lo up", "link add eth0 type veth peer name other0", "link set other0 up", "link set eth0 up",
  ...services.map((_, at) => `addr add ${address(at)}/24 dev eth0`)]) {
  execFileSync("ip", line.split(" "), { stdio: "inherit" });
}
const hosts = path.join(mkdtempSync(path.join(tmpdir(), "tessera-serve-")), "hosts");
writeFileSync(hosts, services.map(({ name }, at) => `${address(at)} ${name}\n`).join(""));
mount("--bind", hosts, path.join(root, "etc/hosts"));
mount("--bind", path.join(sources, "docker/compose"), path.join(root, "etc/tessera"));
mount("-t", "proc", "proc", path.join(root, "proc"));
mount("-t", "sysfs", "-o", "ro", "sysfs", path.join(root, "sys")); // of this network namespace, as in a container
mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", path.join(root, "tmp"));

const begin = Date.now();
const running = services.map(start);
for (const service of running) await untilReady(service);
const readyMs = Date.now() - begin;
const said = await answer("What is 17 + 25?");
assert.match(said, /42/);
for (const { child } of running) {
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  assert.match(status, new RegExp(`^Uid:\\t${user.split(":")[0]}\\t`, "m"));
}
// As `docker compose stop`: all at once.
const told = Date.now();
for (const { child } of running) child.kill("SIGTERM");
for (const { name, exited, lines } of running) {
  assert.deepEqual(await exited, { code: 0, signal: null }, `${name}:\n${lines.join("\n")}`);
  for (const line of lines) assert.doesNotThrow(() => JSON.parse(line), `${name} logs JSON: ${line}`);
}
const stopped = (Date.now() - told) / 1000;
assert.ok(stopped < graceSeconds(file), `${stopped} s`);
console.log(`==== ${services.length} services of the image were ready after ${readyMs} ms, said '${said}', and ended after ${stopped.toFixed(1)} s`);
