// The Dockerfile keeps the rules of a small, repeatable, unprivileged image, and installs what the programs need; the
// compose file and its configs fit together.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { graceSeconds, readServices } from "./compose.mjs";
import { packagesOf, readDockerfile } from "./dockerfile.mjs";

const sources = process.env.TESSERA_SOURCES;
const bin = process.env.TESSERA_BIN;
const folder = path.join(sources, "docker");
const stages = readDockerfile(path.join(folder, "Dockerfile"));
const final = stages.at(-1);
const programs = ["tessera-gateway", "tessera-router", "tessera-expert"];

const known = new Set(["ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "RUN", "STOPSIGNAL", "USER", "WORKDIR"]);

test("every stage begins with an exact tag, or with another stage", () => {
  stages.forEach(({ from, line }, i) => {
    const earlier = stages.slice(0, i).some(({ stage }) => stage === from);
    assert.ok(earlier || /^[a-z0-9./-]+:[a-z0-9.-]+$/.test(from), `line ${line}: ${from}`);
    assert.doesNotMatch(from, /:latest$/);
  });
  assert.ok(stages.length > 1, "the compiler stays out of the image");
  assert.equal(final.from, "debian:12-slim");
});

test("every instruction is one of those that belong here", () => {
  for (const { steps } of stages) {
    for (const { instruction, args, line } of steps) {
      assert.ok(known.has(instruction), `line ${line}: ${instruction}`);
      if (instruction === "CMD" || instruction === "ENTRYPOINT") assert.ok(Array.isArray(JSON.parse(args)), `line ${line}: no shell`);
      if (instruction === "WORKDIR") assert.match(args, /^\//);
      if (instruction !== "RUN") continue;
      assert.doesNotMatch(args, /\b(sudo|curl|wget|chmod 777|apt )\b/, `line ${line}`);
      if (!args.includes("apt-get install")) continue;
      assert.match(args, /^apt-get update +&& +apt-get install --yes --no-install-recommends/, `line ${line}: lists of the same hour`);
      assert.match(args, /rm -rf \/var\/lib\/apt\/lists\/\*/, `line ${line}: lists stay out of the layer`);
    }
  }
});

test("what is copied from a stage was made by one", () => {
  stages.forEach(({ steps }, i) => {
    for (const { args, line } of steps.filter(({ instruction }) => instruction === "COPY")) {
      const [, from] = /--from=(\S+)/.exec(args) ?? [];
      if (from) assert.ok(stages.slice(0, i).some(({ stage }) => stage === from), `line ${line}: ${from}`);
      else assert.equal(i, 0, `line ${line}: sources go into the first stage only`);
    }
  });
});

test("the image runs as nobody, and is told to stop by SIGTERM", () => {
  const last = (instruction) => final.steps.filter((step) => step.instruction === instruction).at(-1)?.args;
  assert.equal(last("USER"), "65532:65532");
  assert.equal(last("STOPSIGNAL"), "SIGTERM");
  const user = final.steps.findIndex(({ instruction }) => instruction === "USER");
  assert.ok(!final.steps.slice(user).some(({ instruction }) => instruction === "RUN" || instruction === "COPY"), "nothing is its own");
  const ports = last("EXPOSE").split(/\s+/);
  for (const config of ["gateway", "router", "expert"]) {
    for (const [, port] of readFileSync(path.join(folder, `compose/${config}.json`), "utf8").matchAll(/_listen": ".*:(\d+)"/g)) {
      assert.ok(ports.includes(port), port);
    }
  }
});

test("the build installs what the script `tessera` does, less what only tests and people need", () => {
  const script = readFileSync(path.join(sources, "tessera"), "utf8");
  const list = /packages=\(\n([^)]*?)\n\)/s.exec(script)[1].split("\n").map((line) => line.trim().split(/\s+/)[0]).filter(Boolean);
  assert.ok(list.length > 10);
  const notNeeded = ["ccache", "libgtest-dev", "libgmock-dev"];
  assert.deepEqual(packagesOf(stages[0]).sort(), list.filter((name) => !notNeeded.includes(name)).sort());
});

function capture(command, args) {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch (error) {
    return error.stdout ?? "";
  }
}

test("the image has every library that the programs are linked with", (t) => {
  if (capture("dpkg-query", ["-W", "-f", "${db:Status-Status}", "libgrpc++1.51"]) !== "installed") {
    return t.skip("this is not Debian 12: what its packages hold is not known here");
  }
  const files = new Set(programs.flatMap((name) =>
    [...capture("ldd", [path.join(bin, name)]).matchAll(/=> (\/\S+)/g)].map(([, file]) => realpathSync(file))));
  const owners = capture("dpkg-query", ["-S", ...files]).split("\n").map((line) => line.split(":")[0]).filter(Boolean);
  const needed = new Set(owners);
  assert.ok(needed.has("libgrpc++1.51") && needed.has("libucx0"), [...needed].join(" "));
  // And what those bring with them.
  const brings = new Map(capture("dpkg-query", ["-W", "-f", "${Package}\t${Depends}, ${Pre-Depends}\n"]).split("\n")
    .map((line) => line.split("\t")).map(([name, list]) => [name, list?.split(/[,|]/).map((one) => one.trim().split(/[ :]/)[0]) ?? []]));
  const there = new Set();
  const waiting = packagesOf(final);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (there.has(name)) continue;
    there.add(name);
    waiting.push(...(brings.get(name) ?? []));
  }
  assert.deepEqual([...needed].filter((name) => !there.has(name)), []);
});

test("the README says that no image was built", () => {
  assert.match(readFileSync(path.join(folder, "README.md"), "utf8"), /No image was built/);
});

const compose = readFileSync(path.join(folder, "compose.yaml"), "utf8");

test("the compose file names files that are there, exact images, and loopback ports", () => {
  for (const [, file] of compose.matchAll(/- (\.\.?\/[^:\s]+):/g)) {
    assert.ok(existsSync(path.join(folder, file)), file);
  }
  for (const [, image] of compose.matchAll(/^ +image: (.*)$/gm)) assert.match(image, /:v?\d+\.\d+\.\d+\}?$/, image);
  for (const [, list] of compose.matchAll(/ports: \[(.*)\]/g)) {
    for (const port of list.split(", ")) assert.match(port, /^"127\.0\.0\.1:\d+:\d+"$/);
  }
  assert.match(compose, /read_only: true/);
  assert.match(compose, /cap_drop: \[ALL\]/);
  const grace = graceSeconds(path.join(folder, "compose.yaml"));
  for (const config of ["gateway", "router", "expert"]) {
    const { drain_seconds: drain } = JSON.parse(readFileSync(path.join(folder, `compose/${config}.json`), "utf8"));
    assert.ok(grace > drain, config);
  }
});

test("every service of ours is told what its program understands, and finds the others", () => {
  const services = readServices(path.join(folder, "compose.yaml"));
  assert.deepEqual(services.map(({ name }) => name), ["gateway", "router", "expert-0", "expert-1"]);
  const listens = new Set();
  const wants = [];
  const copies = new Set(); // as the shards hold them, and as the router restores them
  for (const { name, program, args: deployed } of services) {
    const args = deployed.map((arg) => arg.replace("/etc/tessera", path.join(folder, "compose")));
    const config = JSON.parse(capture(path.join(bin, program), [...args, "--print_config"]));
    for (const field of ["http_listen", "grpc_listen", "admin_listen", "data_listen"]) {
      if (config[field]) listens.add(`${name}:${config[field].split(":").at(-1)}`);
    }
    wants.push(...(config.router_addresses ?? []));
    if (program === "tessera-router") copies.add(config.membership?.copies_wanted ?? 1);
    if (program === "tessera-expert") copies.add(config.replicas ?? 1);
    for (const field of ["grpc_advertise", "data_advertise"]) {
      if (config[field]) wants.push(config[field].replace(/^ucx:/, ""));
    }
  }
  const prometheus = readFileSync(path.join(folder, "compose/prometheus.yml"), "utf8");
  wants.push(...[...prometheus.matchAll(/"([a-z0-9-]+:\d+)"/g)].map(([, address]) => address));
  assert.ok(wants.length > 8);
  for (const address of wants) assert.ok(listens.has(address), address);
  assert.deepEqual([...copies], [2]);
});
