#!/usr/bin/env node
// How far `tessera plan --simulate` is from clusters that really run on this machine: 1, 2, 3 and 4 expert shards, the model that comes
// with the program, streams that follow each other on a few lanes.
//
//   node tests/bench/simulator.mjs [--bin=build/release/bin] [--shards=1,2,3,4] [--lanes=8] [--rounds=25] [--seconds=1]
//
// The simulator is told what was measured: processor time of the router's and the shard's threads, of gateways and clients, and how long
// a call is on its way, all of the first cluster; and what another call of a step costs a router, from the first two. Which experts steps
// choose, prompts' rows included, is recorded from a cluster of its own. It then has to foretell steps a second of each; a step has as
// many rows in all of them and in what is simulated, which is checked. Of the first cluster that leaves little to foretell but how its
// threads get into each other's way.
// All stand ready and take short turns, so that they meet the same moods of the machine. Each cost is the median of its rounds, and a
// cluster's speed the first one's median times the median over rounds of (its speed / the first one's). A turn in which /proc/stat says
// that a hypervisor or other programs took more than 3 % of the processors' time is taken again; what all turns together would have given
// stands beside it. Aim: within 15 %. Exit code 1: it was missed, or too few turns were left alone.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { readFlags } from "./flags.mjs";

const root = path.resolve(import.meta.dirname, "../..");
const options = readFlags({ bin: path.join(root, "build/release/bin"), shards: "1,2,3,4", lanes: 8, rounds: 25, seconds: 1 });
process.env.TESSERA_BIN = path.resolve(options.bin);
const { metric, startCluster } = await import("../clients/programs.mjs");
const { percentile, stream } = await import("../load/sse.mjs");

const counts = options.shards.split(",").map(Number);
const folder = mkdtempSync(path.join(tmpdir(), "tessera-simulator-"));
const trace = path.join(folder, "routing");
const phases = ["attention", "gate", "plan", "post", "shared", "wait", "combine"];

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

// Hundredths of a second for which processors of this machine were used, and were with other guests of its host.
function machineTicks() {
  const [user, nice, system, , , irq, softirq, stolen] = readFileSync("/proc/stat", "utf8").split("\n")[0].trim().split(/\s+/).slice(1).map(Number);
  return { used: user + nice + system + irq + softirq, stolen };
}

async function look(cluster) {
  const router = cluster.process("router-0");
  const page = await (await fetch(`http://${router.admin}/metrics`)).text();
  const { ran } = threadSeconds(router.pid, /^engine$/);
  const seen = { at: performance.now() / 1000, steps: metric(page, "tessera_router_steps_total"),
    calls: metric(page, "tessera_router_shard_calls_total"), pairs: metric(page, "tessera_router_shard_pairs_total"),
    experts: metric(page, "tessera_router_shard_experts_total"), rows: metric(page, "tessera_router_rows_total"), engine: ran,
    router: cpuSeconds(router.pid) - threadSeconds(router.pid, /^idle-poll-/).ran, // that takes nobody's time
    gateway: cpuSeconds(cluster.gatewayPid), clients: process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
    call: metric(page, "tessera_router_shard_call_seconds_sum"), compute: 0, compute_waited: 0, shards: 0, programs: 0, ...machineTicks() };
  for (const { role, pid } of cluster.processes()) {
    seen.programs += cpuSeconds(pid);
    if (role !== "expert") continue;
    const thread = threadSeconds(pid, /^compute$/);
    seen.compute += thread.ran;
    seen.compute_waited += thread.waited;
    seen.shards += cpuSeconds(pid);
  }
  for (const phase of phases) seen[phase] = metric(page, "tessera_router_layer_seconds_total", { phase });
  return seen;
}

// What was counted in some seconds under traffic, and which share of the processors' time others took.
async function turn(cluster, seconds) {
  let going = true;
  const lane = async () => {
    while (going) {
      const task = nextTask++;
      const max_tokens = 120 + ((task * 59) % 161); // so that lanes soon begin at different times
      const { error } = await stream(cluster, { model: "tessera-demo", temperature: 0, max_tokens, ignore_eos: true,
        messages: [{ role: "user", content: `What is ${11 + ((task * 37) % 89)} + ${12 + ((task * 53) % 87)}?` }] });
      if (error !== undefined) throw new Error(error);
    }
  };
  const lanes = Promise.all(Array.from({ length: options.lanes }, lane));
  const pause = (duration) => new Promise((resolve) => setTimeout(resolve, 1000 * duration));
  await Promise.race([lanes, pause(0.4)]);
  const before = await look(cluster);
  await Promise.race([lanes, pause(seconds)]);
  const after = await look(cluster);
  going = false;
  await lanes;
  const m = Object.fromEntries(Object.keys(after).map((key) => [key, after[key] - before[key]]));
  for (const [name, value] of Object.entries(m)) if (!Number.isFinite(value)) throw new Error(`${name} could not be read`);
  const foreign = m.stolen + Math.max(0, m.used - 100 * (m.programs + m.clients));
  return { ...m, stepsBefore: before.steps, others: foreign / (100 * m.at * availableParallelism()) };
}

// A turn that was left alone.
async function measure(cluster, allTurns) {
  while (allTurns.length < 4 * options.rounds) {
    const m = await turn(cluster, options.seconds);
    allTurns.push(m);
    if (m.others <= 0.03) return m;
  }
  throw new Error(`others took the processors in too many of ${allTurns.length} turns: the machine is not quiet enough to tell`);
}

// What the router's balancer made of the shards' answers, now: microseconds of an expert and of a pair. It remembers the last seconds, so
// also turns that are taken again; the sum of both is that of the turn itself, see costs().
async function fittedCosts(cluster) {
  const { admin } = cluster.process("router-0");
  const report = async () => (await fetch(`http://${admin}/balance`)).json();
  const { looks: before } = await report();
  await fetch(`http://${admin}/balance/look`, { method: "POST" });
  for (let tries = 0; tries < 100; ++tries) {
    const { costs, looks } = await report();
    if (looks > before && costs.fitted) return costs; // not those of the look before
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the balancer told experts' and rows' costs not apart");
}

// What another call of a step costs the router's thread: two clusters' difference in processor time over that in calls.
function postMicros(one, two) {
  return (1e6 * (two.engine / two.steps - one.engine / one.steps)) / (two.calls / two.steps - one.calls / one.steps);
}

// Microseconds of the simulator's flags from what was counted in a cluster with one shard. Its processors are shared by all, so it
// wants the time for which threads had one.
function costs(m, post_us, { layers, topK }) {
  const us = (seconds, by) => (1e6 * seconds) / by;
  const layersDone = m.steps * layers;
  // Fitted to times that passed at the shard; its thread may have been interrupted in them.
  const kernels = (m.fitted.touch_us * m.experts + m.fitted.row_us * m.pairs) * 1e-6;
  const alone = Math.min(1, m.compute / kernels);
  const call_us = us(m.compute - kernels * alone, m.calls);
  // Of a call's time what its shard's thread neither computed nor waited for a processor, nor the router wrote: the way, and until
  // the router took the answer up.
  const link_us = Math.max(0, us(m.call - m.compute - m.compute_waited, m.calls) - post_us) / 2;
  // What the router's thread did beside calls, by the phases in which none is under way.
  const engine = m.engine - m.shared - post_us * m.calls * 1e-6;
  const withoutCalls = m.at - m.post - m.shared - m.wait;
  const attention_us = us(((m.attention + m.gate + m.plan + m.combine) * engine) / withoutCalls, layersDone);
  const step_us = us(engine, m.steps) - attention_us * layers;
  const rows = m.pairs / (topK * layersDone); // a prompt's too, as in the trace
  // The shared expert is computed while calls are under way, so it takes time of a processor but no step's.
  const others_us = us(m.gateway + m.clients + m.shared + m.router - m.engine + m.shards - m.compute, rows * m.steps);
  return { attention_us, post_us, step_us, others_us, call_us, touch_us: m.fitted.touch_us * alone, row_us: m.fitted.row_us * alone, link_us };
}

const clusters = new Map();
let nextTask = 0;
let failed = false;
try {
  const start = (shards, ...flags) => startCluster({ model: path.join(root, "deploy/models/tessera-demo"), shards, flags: ["--threads=1", ...flags] });
  clusters.set("recorded", await start(counts[0], `--record_routing=${trace}`));
  const recorded = await turn(clusters.get("recorded"), 6);
  await clusters.get("recorded").stop(); // the trace is whole then
  clusters.delete("recorded");
  for (const shards of counts) clusters.set(shards, await start(shards));
  for (const cluster of clusters.values()) {
    await fetch(`http://${cluster.process("router-0").admin}/balance/freeze`, { method: "POST" });
  }
  const measured = new Map(counts.map((shards) => [shards, []]));
  const all = new Map(counts.map((shards) => [shards, []])); // those that are taken again, too
  for (let round = 0; round < options.rounds; ++round) {
    for (const shards of round % 2 === 0 ? counts : counts.toReversed()) {
      const m = await measure(clusters.get(shards), all.get(shards));
      measured.get(shards).push(m);
      if (shards === counts[0]) m.fitted = await fittedCosts(clusters.get(shards));
    }
  }
  const first = measured.get(counts[0]);
  const median = (values) => percentile(values, 0.5);
  const speeds = (turns) => turns.map((m) => m.steps / m.at);
  const toFirst = (shards) => speeds(measured.get(shards)).map((speed, round) => speed / speeds(first)[round]);
  const model = JSON.parse(readFileSync(path.join(root, "deploy/models/tessera-demo/config.json"), "utf8"));
  const layersAndTopK = { layers: model.num_hidden_layers - model.num_dense_layers, topK: model.num_experts_per_tok };
  const second = measured.get(counts[1]);
  const post_us = second === undefined ? 0 : Math.max(0, median(first.map((m, round) => postMicros(m, second[round]))));
  const ofRounds = first.map((m) => costs(m, post_us, layersAndTopK));
  const us = Object.fromEntries(Object.keys(ofRounds[0]).map((name) => [name, median(ofRounds.map((given) => given[name]))]));
  const rows = (shards) => measured.get(shards).reduce((sum, m) => sum + m.rows, 0) / measured.get(shards).reduce((sum, m) => sum + m.steps, 0);
  const flags = ["plan", "--simulate", "--json", `--routing=${trace}`, "--balance=false",
    // Of the trace what was recorded while all lanes went, not how they began and ended.
    `--warmup_steps=${recorded.stepsBefore}`, `--steps=${recorded.steps}`,
    `--processors=${availableParallelism()}`, "--link_gigabits=1000000", ...Object.entries(us).map(([name, value]) => `--${name}=${value.toFixed(3)}`)];
  console.log(`tessera ${flags.join(" ")} --shards=N\n`);
  console.log("| shards | measured (steps/s) | simulated | simulated / measured | rows a step, both | simulated / median of all turns |\n|---|---|---|---|---|---|");
  for (const shards of counts) {
    const line = JSON.parse(execFileSync(path.join(process.env.TESSERA_BIN, "tessera"), [...flags, `--shards=${shards}`], { encoding: "utf8" }));
    const simulated = line.steps_per_second;
    const real = median(speeds(first)) * median(toFirst(shards));
    const sameRows = Math.abs(line.rows / rows(shards) - 1) <= 0.03;
    failed ||= Math.abs(simulated / real - 1) > 0.15 || !sameRows;
    const range = [Math.min, Math.max].map((end) => end(...speeds(measured.get(shards))).toFixed(0)).join("–");
    console.log(`| ${shards} | ${real.toFixed(0)} (${range}) | ${simulated.toFixed(0)} | ${(simulated / real).toFixed(2)} | ${rows(shards).toFixed(2)}, ${line.rows.toFixed(2)}${sameRows ? "" : " (not the same)"} | ${(simulated / median(speeds(all.get(shards)))).toFixed(2)} |`);
  }
  const turns = [...all.values()].flat();
  const counted = [...measured.values()].flat();
  const share = (values) => `${(100 * median(values)).toFixed(1)} %`;
  console.log(`\n${options.rounds} rounds of ${options.seconds} s, ${options.lanes} lanes; ${turns.length} turns for ${counted.length} that count: others took ${share(turns.map((m) => m.others))} of the processors in the median turn, ${share(counted.map((m) => m.others))} in those; within 15 %: ${failed ? "no" : "yes"}`);
} finally {
  for (const cluster of clusters.values()) await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
