#!/usr/bin/env node
// How far `tessera plan --simulate` is from clusters that really run on this machine: 1, 2, 3 and 4 expert shards, the model that comes
// with the program, streams that follow each other on a few lanes.
//
//   node tests/bench/simulator.mjs [--bin=build/release/bin] [--shards=1,2,3,4] [--lanes=8] [--rounds=11] [--seconds=2]
//
// The simulator is told what the first cluster was measured to need: processor time of kernels, router, gateways and clients, and how
// long its link takes; of all clusters together only what another call costs a router. Which experts steps choose, prompts' rows
// included, is recorded from a cluster of its own. It then has to foretell the throughput of each, counted in steps: a step has as many
// rows in all of them. They stand ready and take turns, so that they meet the same moods of the machine; medians are compared.
// Aim: within 15 %. Exit code 1: it was missed.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import path from "node:path";
import { readFlags } from "./flags.mjs";

const root = path.resolve(import.meta.dirname, "../..");
const options = readFlags({ bin: path.join(root, "build/release/bin"), shards: "1,2,3,4", lanes: 8, rounds: 11, seconds: 2 });
process.env.TESSERA_BIN = path.resolve(options.bin);
const { metric, startCluster } = await import("../clients/programs.mjs");
const { percentile, stream } = await import("../load/sse.mjs");

const counts = options.shards.split(",").map(Number);
const folder = mkdtempSync(path.join(tmpdir(), "tessera-simulator-"));
const trace = path.join(folder, "routing");
const phases = ["attention", "gate", "plan", "dispatch", "shared", "wait", "combine"];

function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

// Seconds for which the threads of a process with such a name had a processor, and for which they waited for one.
function threadSeconds(pid, name) {
  const sum = { ran: 0, waited: 0, threads: 0 };
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    if (!readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim().match(name)) continue;
    const [ran, waited] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ").map(Number);
    sum.ran += ran / 1e9;
    sum.waited += waited / 1e9;
    ++sum.threads;
  }
  if (sum.threads === 0 && !name.source.includes("idle-poll")) throw new Error(`process ${pid} has no thread ${name}`);
  return sum;
}

async function look(cluster) {
  const router = cluster.process("router-0");
  const page = await (await fetch(`http://${router.admin}/metrics`)).text();
  const { ran, waited } = threadSeconds(router.pid, /^engine$/);
  const seen = { at: performance.now() / 1000, steps: metric(page, "tessera_router_steps_total"),
    calls: metric(page, "tessera_router_shard_calls_total"), pairs: metric(page, "tessera_router_shard_pairs_total"),
    experts: metric(page, "tessera_router_shard_experts_total"), engine: ran, engine_waited: waited,
    router: cpuSeconds(router.pid) - threadSeconds(router.pid, /^idle-poll-/).ran, // that takes nobody's time
    gateway: cpuSeconds(cluster.gatewayPid), clients: process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
    call: metric(page, "tessera_router_shard_call_seconds_sum"), compute: 0, compute_waited: 0, shards: 0 };
  for (const { role, pid } of cluster.processes()) {
    if (role !== "expert") continue;
    const thread = threadSeconds(pid, /^compute$/);
    seen.compute += thread.ran;
    seen.compute_waited += thread.waited;
    seen.shards += cpuSeconds(pid);
  }
  for (const phase of phases) {
    seen[phase] = 0;
    for (const [, value] of page.matchAll(new RegExp(`^tessera_router_layer_seconds_total\\{layer="\\d+",phase="${phase}"\\} (\\S+)$`, "gm"))) {
      seen[phase] += Number(value);
    }
  }
  return seen;
}

// What was counted in some seconds under traffic.
async function measure(cluster) {
  let going = true;
  let next = 0;
  const lane = async () => {
    while (going) {
      const turn = next++;
      const { error } = await stream(cluster, { model: "tessera-demo", temperature: 0, max_tokens: 400, ignore_eos: true,
        messages: [{ role: "user", content: `What is ${11 + ((turn * 37) % 89)} + ${12 + ((turn * 53) % 87)}?` }] });
      if (error !== undefined) throw new Error(error);
    }
  };
  const lanes = Promise.all(Array.from({ length: options.lanes }, lane));
  const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  await Promise.race([lanes, pause(1)]);
  const before = await look(cluster);
  await Promise.race([lanes, pause(options.seconds)]);
  const after = await look(cluster);
  going = false;
  await lanes;
  return Object.fromEntries(Object.keys(after).map((key) => [key, after[key] - before[key]]));
}

// Microseconds of the simulator's flags, from the cluster `m` was measured on: processor time of threads, as the simulator's processors
// are shared by all; `post_us` is what another call costs a router.
function costs(m, post_us, { touch_us, row_us }, { layers, topK }) {
  const visits = m.steps * layers;
  const us = (seconds, by) => (1e6 * seconds) / by;
  const call_us = Math.max(0, us(m.compute, m.calls) - (touch_us * m.experts + row_us * m.pairs) / m.calls);
  // Of a call's time from its post to its answer what its shard's thread neither computed nor waited for a processor.
  const link_us = Math.max(0, us(m.call - m.compute - m.compute_waited, m.calls) - post_us) / 2;
  // The router's thread ran in all phases but those of a call that is under way.
  const alone = m.at - m.dispatch - m.shared - m.wait;
  const ran = m.engine - m.shared - (post_us * m.calls) / 1e6;
  const attention_us = us(((m.attention + m.gate + m.plan + m.combine) * ran) / alone, visits);
  const step_us = us(ran, m.steps) - attention_us * layers;
  const rows = m.pairs / (layers * topK * m.steps); // a prompt's too, as in the trace
  const others_us = us(m.gateway + m.clients + m.shared + m.router - m.engine + m.shards - m.compute, rows * m.steps);
  return { attention_us, post_us, step_us, others_us, call_us, touch_us, row_us, link_us, rows };
}

// What another call of a step costs the router's thread: the slope of its processor time over the calls of a round's clusters.
function postMicros(round) {
  const points = round.map((m) => [m.calls / m.steps, (1e6 * m.engine) / m.steps]);
  const mean = (axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const spread = points.reduce((sum, p) => sum + (p[0] - x) ** 2, 0);
  return spread === 0 ? 0 : points.reduce((sum, p) => sum + (p[0] - x) * (p[1] - y), 0) / spread;
}

const clusters = new Map();
let failed = false;
try {
  const start = (shards, ...flags) => startCluster({ model: path.join(root, "deploy/models/tessera-demo"), shards, flags: ["--threads=1", ...flags] });
  clusters.set("recorded", await start(counts[0], `--record_routing=${trace}`));
  await measure(clusters.get("recorded"));
  await clusters.get("recorded").stop(); // the trace is whole then
  clusters.delete("recorded");
  for (const shards of counts) clusters.set(shards, await start(shards));
  for (const cluster of clusters.values()) {
    await fetch(`http://${cluster.process("router-0").admin}/balance/freeze`, { method: "POST" });
  }
  const measured = new Map(counts.map((shards) => [shards, []]));
  for (let round = 0; round < options.rounds; ++round) {
    for (const shards of round % 2 === 0 ? counts : counts.toReversed()) measured.get(shards).push(await measure(clusters.get(shards)));
  }
  const first = measured.get(counts[0]);
  const speeds = (shards) => measured.get(shards).map((m) => m.steps / m.at);
  const median = (values) => percentile(values, 0.5);
  const model = JSON.parse(readFileSync(path.join(root, "deploy/models/tessera-demo/config.json"), "utf8"));
  const layersAndTopK = { layers: model.num_hidden_layers - model.num_dense_layers, topK: model.num_experts_per_tok };
  const post_us = Math.max(0, median(first.map((_, round) => postMicros(counts.map((shards) => measured.get(shards)[round])))));
  const fitted = (await (await fetch(`http://${clusters.get(counts[0]).process("router-0").admin}/balance`)).json()).costs;
  const ofRounds = first.map((m) => costs(m, post_us, fitted, layersAndTopK));
  const { rows, ...us } = Object.fromEntries(Object.keys(ofRounds[0]).map((name) => [name, median(ofRounds.map((given) => given[name]))]));
  const flags = ["plan", "--simulate", "--json", `--routing=${trace}`, "--balance=false", "--steps=1500", "--warmup_steps=100",
    `--processors=${availableParallelism()}`, "--link_gigabits=1000000", ...Object.entries(us).map(([name, value]) => `--${name}=${value.toFixed(3)}`)];
  console.log(`tessera ${flags.join(" ")} --shards=N\n`);
  console.log("| shards | measured (steps/s) | simulated | simulated / measured |\n|---|---|---|---|");
  for (const shards of counts) {
    const line = JSON.parse(execFileSync(path.join(process.env.TESSERA_BIN, "tessera"), [...flags, `--shards=${shards}`], { encoding: "utf8" }));
    const simulated = line.steps_per_second;
    const real = median(speeds(shards));
    failed ||= Math.abs(simulated / real - 1) > 0.15;
    console.log(`| ${shards} | ${real.toFixed(0)} (${Math.min(...speeds(shards)).toFixed(0)}–${Math.max(...speeds(shards)).toFixed(0)}) | ${simulated.toFixed(0)} | ${(simulated / real).toFixed(2)} |`);
  }
  console.log(`\n${options.rounds} rounds of ${options.seconds} s, ${options.lanes} lanes, ${rows.toFixed(1)} rows a step; load average ${loadavg()[0].toFixed(1)}; within 15 %: ${failed ? "no" : "yes"}`);
} finally {
  for (const cluster of clusters.values()) await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
