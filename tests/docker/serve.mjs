// serve.mjs ROOT SOURCES USER: the services of compose.yaml, started from the image's programs with the file's commands as its
// user on its read-only root: they become ready, answer, and end by themselves when all are told to. In network and mount
// namespaces of its own, see chroot.mjs; every service has a network namespace, an address and /sys as a container has them.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
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

// A network of its own, joined to the others by the bridge.
function joinNetwork(name, at) {
  const commands = [
    `netns add ${name}`, `link add v${at} type veth peer name eth0 netns ${name}`, `link set v${at} master br0`, `link set v${at} up`,
    `-n ${name} link set lo up`, `-n ${name} addr add ${address(at)}/24 dev eth0`, `-n ${name} link set eth0 up`,
  ];
  for (const command of commands) execFileSync("ip", command.split(" "), { stdio: "inherit" });
}

// As the container starts it: {name, child, lines: its log, exited}.
function start({ name, program, args }, at) {
  joinNetwork(name, at);
  const { admin_listen: admin } = JSON.parse(
    readFileSync(path.join(sources, "docker/compose", path.basename(args[0].split("=")[1])), "utf8"));
  const inNetwork = ["netns", "exec", name, "sh", "-c", 'mount -t sysfs -o ro sysfs "$0/sys" && exec chroot "$@"', root];
  const child = spawn("ip", [...inNetwork, `--userspec=${user}`, root, `/usr/bin/${program}`, ...args],
    { env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }, stdio: ["ignore", "inherit", "pipe"] });
  const service = { name, child, lines: [], admin: admin.replace("0.0.0.0", address(at)) };
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
mkdirSync("/run/netns", { recursive: true });
mount("-t", "tmpfs", "tmpfs", "/run/netns"); // their names are nobody else's business
for (const command of ["link set lo up", "link add br0 type bridge", "addr add 10.88.0.1/24 dev br0", "link set br0 up"]) {
  execFileSync("ip", command.split(" "), { stdio: "inherit" });
}
const hosts = path.join(mkdtempSync(path.join(tmpdir(), "tessera-serve-")), "hosts");
writeFileSync(hosts, services.map(({ name }, at) => `${address(at)} ${name}\n`).join(""));
mount("--bind", hosts, path.join(root, "etc/hosts"));
mount("--bind", path.join(sources, "docker/compose"), path.join(root, "etc/tessera"));
mount("-t", "proc", "proc", path.join(root, "proc"));
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
