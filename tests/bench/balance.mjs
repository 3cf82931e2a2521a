#!/usr/bin/env node
// What balancing does for a real cluster on this machine: router, gateway and four expert shards as processes, the model that comes
// with the program, and one kind of prompt, so that few experts carry most rows.
//
//   node tests/bench/balance.mjs [--bin=build/release/bin] [--shards=4] [--replicas=1] [--lanes=16] [--windows=2] [--steps=1000]
//                                [--rounds=3] [--strict=true] [--prompts=sums] [--json]
//
// Two equal clusters take turns, so that both meet the same moods of the machine: one is left as it began, in the other one round
// of moves is made between the first half of its windows and the second, under the same traffic. A cluster that was balanced has
// nothing more to move, so each further round has a cluster of its own; figures are medians of the rounds. Every answer is compared
// with that of a quiet cluster (with --strict=false only counted). It prints the machine's load beside every figure that a busy
// machine spoils.
//
// What do moves add to the gaps between two tokens of a stream? Sixteen streams on two processors have gaps beyond 1.5 x their p99
// without any move, and the longest of many gaps grows with how many there are. So the longest during the moves is held against both
// the p99 without moves and the median longest of windows without moves that are just as long: it is too long if it is more than
// 1.5 x both.
//
// Here and not in tests/load, because it measures. Exit code 1: an answer differed, a request failed, the load of the shards is less
// even than 0.95 after a round, or moves make the longest gap too long.

import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import path from "node:path";
import { readFlags } from "./flags.mjs";
import { shardCounters, shardLoad } from "./shard_load.mjs";

const root = path.resolve(import.meta.dirname, "../..");
const options = readFlags({ bin: path.join(root, "build/release/bin"), shards: 4, replicas: 1, lanes: 16, windows: 2, steps: 1000, rounds: 3, strict: true,
  prompts: "sums", json: false });
process.env.TESSERA_BIN = path.resolve(options.bin);
const { metric, startCluster, until } = await import("../clients/programs.mjs");
const { percentile, stream } = await import("../load/sse.mjs");
const { words } = await import("../load/traffic.mjs");

const prompts = {
  sums: Array.from({ length: 64 }, (_, i) => `What is ${11 + ((i * 37) % 89)} + ${12 + ((i * 53) % 87)}?`),
  words: Array.from({ length: 64 }, (_, i) => `Reverse: ${["one", "two", "three", "four", "five", "six", "seven"].slice(i % 4, 3 + (i % 5)).join(" ")}`),
}[options.prompts];
const request = (prompt) => ({ model: "tessera-demo", messages: [{ role: "user", content: prompt }], temperature: 0, max_tokens: 200 });

// Seconds that all processors of this machine were busy.
function busySeconds() {
  const [user, nice, system, , , irq, softirq, steal] = readFileSync("/proc/stat", "utf8").split("\n")[0].trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) / 100;
}
function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

class Measured {
  constructor(cluster, name, expected) {
    Object.assign(this, { cluster, name, expected, gaps: [], calm: [], streams: 0, wrong: 0, errors: [] });
    this.admin = `http://${cluster.process("router-0").admin}`;
  }
  async post(path) {
    const { status } = await fetch(`${this.admin}${path}`, { method: "POST" });
    if (status !== 202) throw new Error(`POST ${path}: ${status}`);
  }
  async balance() {
    return (await fetch(`${this.admin}/balance`)).json();
  }
  // What the router has counted: steps, and [layer][shard] of pairs and of different experts.
  async counters() {
    const page = await (await fetch(`${this.admin}/metrics`)).text();
    return { at: performance.now(), steps: metric(page, "tessera_router_steps_total"), tokens: metric(page, "tessera_router_tokens_total"), ...shardCounters(page),
      stepRatio: metric(page, "tessera_router_balance_step_ratio") };
  }

  // Streams follow each other on all lanes while `work` lasts.
  async under(work) {
    let going = true;
    let next = 0;
    const lane = async () => {
      while (going) {
        const index = next++ % prompts.length;
        const end = await stream(this.cluster, request(prompts[index]), { onEvent: (gap) => {
          this.gaps.push({ at: performance.now(), gap });
        } });
        ++this.streams;
        if (end.error !== undefined) this.errors.push(end.error);
        else if (JSON.stringify(words(end)) !== this.expected?.[index]) ++this.wrong;
      }
    };
    const lanes = Array.from({ length: options.lanes }, lane);
    await new Promise((resolve) => setTimeout(resolve, 1000)); // all lanes are at work
    try {
      return await work();
    } finally {
      going = false;
      await Promise.all(lanes);
    }
  }

  // Figures of `windows` windows of so many steps each.
  async windows() {
    return this.under(async () => {
      const figures = [];
      for (let i = 0; i < options.windows; ++i) figures.push(await this.window());
      return figures;
    });
  }
  async window() {
    const before = await this.counters();
    const busy = busySeconds();
    const own = this.ownSeconds();
    const first = this.gaps.length;
    const after = await until(async () => {
      const now = await this.counters();
      return now.steps - before.steps >= options.steps && now;
    }, `${options.steps} steps`);
    const seconds = (after.at - before.at) / 1000;
    if (this.calm.at(-1)?.ended >= before.at - 20) this.calm.at(-1).ended = after.at;
    else this.calm.push({ began: before.at, ended: after.at });
    const { touch_us, row_us } = (await this.balance()).costs;
    const gaps = this.gaps.slice(first).map(({ gap }) => gap);
    return { steps: after.steps - before.steps, seconds, tokens_per_second: (after.tokens - before.tokens) / seconds,
      ...shardLoad(before, after, options.shards, { touch_us, row_us }), each_step_pairs: after.stepRatio, touch_us, row_us,
      gap_p50: percentile(gaps, 0.5), gap_p99: percentile(gaps, 0.99), gap_max: Math.max(...gaps),
      others_percent: Math.max(0, (100 * (busySeconds() - busy - this.ownSeconds() + own)) / seconds), load_average: loadavg()[0] };
  }
  ownSeconds() {
    return this.cluster.processes().reduce((sum, { pid }) => sum + cpuSeconds(pid), 0) + process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;
  }

  // The gaps of each of the windows without moves that are as long as given.
  calmGaps(seconds) {
    const all = [];
    for (const { began, ended } of this.calm) {
      const count = Math.floor((ended - began) / (1000 * seconds));
      const windows = Array.from({ length: count }, () => []);
      for (const { at, gap } of this.gaps) windows[Math.floor((at - began) / (1000 * seconds))]?.push(gap);
      all.push(...windows.filter((window) => window.length > 0));
    }
    return all;
  }

  // One round of moves under traffic, behind a window without and before another: how long it took and the gaps of that time.
  async round() {
    return this.under(async () => {
      await this.window();
      const rounds = (await this.balance()).rounds;
      const began = performance.now();
      await this.post("/balance/trigger");
      await until(async () => (await this.balance()).rounds > rounds, "a round");
      const { balance, planned, loads } = await this.balance();
      await until(async () => (await this.balance()).pending === 0, "the moves to end");
      const ended = performance.now();
      const gaps = this.gaps.filter(({ at }) => at >= began && at <= ended).map(({ gap }) => gap);
      const { load } = await this.window();
      return { load, seconds: (ended - began) / 1000, loads, estimated: balance, planned, gap_p99: percentile(gaps, 0.99), gap_max: Math.max(...gaps),
        began, ended, load_average: loadavg()[0] };
    });
  }
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const median = (values) => percentile(values, 0.5);
const flags = ["--threads=1", `--replicas=${options.replicas}`, `--strict=${options.strict}`];
const model = path.join(root, "deploy/models/tessera-demo");
const clusters = [];
let failed = false;
try {
  for (let i = 0; i < 2; ++i) clusters.push(await startCluster({ model, shards: options.shards, flags }));
  const expected = [];
  for (const prompt of prompts) expected.push(JSON.stringify(words(await stream(clusters[0], request(prompt)))));
  const [off, on] = clusters.map((cluster, i) => new Measured(cluster, i === 0 ? "off" : "on", expected));
  for (const each of [off, on]) await each.post("/balance/freeze");
  const results = { off: { before: [], after: [] }, on: { before: [], after: [] } };
  const half = async (when) => {
    for (const each of [off, on, on, off]) results[each.name][when].push(...(await each.windows()));
  };
  await half("before");
  const rounds = [await on.round()];
  await half("after");
  rounds[0].load = mean(results.on.after.map((window) => window.load)); // of more steps
  const measured = [off, on];
  while (rounds.length < options.rounds) {
    await clusters.pop().stop();
    clusters.push(await startCluster({ model, shards: options.shards, flags }));
    measured.push(new Measured(clusters.at(-1), "on", expected));
    await measured.at(-1).post("/balance/freeze");
    rounds.push(await measured.at(-1).round());
  }

  const table = [["cluster", "windows", "load", "of pairs", "of experts", "each step (pairs)", "tokens/s", "gap p50/p99/max (ms)", "others (% of a core)", "load average"]];
  for (const [name, when] of [["off", "before"], ["on", "before"], ["off", "after"], ["on", "after"]]) {
    const of = results[name][when];
    const all = (key) => of.map((window) => window[key]);
    table.push([name, when, ...["load", "pairs", "experts"].map((key) => mean(all(key)).toFixed(3)), of.at(-1).each_step_pairs.toFixed(3),
      median(all("tokens_per_second")).toFixed(0), ["gap_p50", "gap_p99", "gap_max"].map((key) => median(all(key)).toFixed(1)).join(" / "),
      median(all("others_percent")).toFixed(0), mean(all("load_average")).toFixed(1)]);
  }
  const speed = (name, when) => median(results[name][when].map((window) => window.tokens_per_second));
  const calm = rounds.map(({ seconds }) => measured.flatMap((each) => each.calmGaps(seconds)));
  const gaps = { moves_max: median(rounds.map((round) => round.gap_max)), moves_p99: median(rounds.map((round) => round.gap_p99)),
    calm_max: median(calm.flatMap((windows) => windows.map((window) => Math.max(...window)))),
    calm_p99: median(calm.flatMap((windows) => windows.map((window) => percentile(window, 0.99)))), calm_windows: calm.map((windows) => windows.length) };
  const load = median(rounds.map((round) => round.load));
  const wrong = measured.reduce((sum, each) => sum + each.wrong, 0);
  const streams = measured.reduce((sum, each) => sum + each.streams, 0);
  const errors = measured.flatMap((each) => each.errors);
  const faults = [];
  if (errors.length > 0) faults.push(`${errors.length} requests failed: ${errors[0]}`);
  if (options.strict && wrong > 0) faults.push(`${wrong} answers differed`);
  if (!(load >= 0.95)) faults.push(`the shards' load is ${load.toFixed(3)} even after a round; 0.95 is asked for`);
  if (Math.min(...gaps.calm_windows) < 3) faults.push("fewer than three windows without moves are as long as a round: more --steps");
  if (gaps.moves_max > 1.5 * gaps.calm_p99 && gaps.moves_max > 1.5 * gaps.calm_max) faults.push("moves make the longest gap too long");
  failed = faults.length > 0;
  if (options.json) {
    console.log(JSON.stringify({ options, results, rounds, gaps, load, faults, streams, wrong, errors: errors.length }));
  } else {
    console.log(`${options.shards} shards, ${options.replicas} ${options.replicas === 1 ? "copy" : "copies"}, ${options.lanes} streams at a time of one kind of prompt (${options.prompts}), ` +
      `${options.strict ? "strict" : "fast"}; windows of ${options.steps} steps; ${cpus().length} x ${cpus()[0].model}\n`);
    for (const [i, row] of table.entries()) {
      console.log(`| ${row.join(" | ")} |`);
      if (i === 0) console.log(`|${"---|".repeat(row.length)}`);
    }
    const { touch_us, row_us } = results.on.after.at(-1);
    console.log(`\nload: ${touch_us.toFixed(2)} us an expert of a call and ${row_us.toFixed(2)} us a (row, expert) pair, as fitted from the answers; mean over largest of the shards, averaged over layers`);
    for (const [i, round] of rounds.entries()) {
      console.log(`round ${i + 1}: ${round.loads} experts loaded in ${round.seconds.toFixed(1)} s, ${round.estimated.toFixed(3)} estimated before it, ${round.planned.toFixed(3)} promised, load ${round.load.toFixed(3)} after it; ` +
        `gaps: longest ${round.gap_max.toFixed(1)} ms, p99 ${round.gap_p99.toFixed(1)}; ${calm[i].length} windows as long without moves: longest ${median(calm[i].map((window) => Math.max(...window))).toFixed(1)}, ` +
        `p99 ${median(calm[i].map((window) => percentile(window, 0.99))).toFixed(1)}; load average ${round.load_average.toFixed(1)}`);
    }
    console.log(`tokens/s, on over off: ${(speed("on", "before") / speed("off", "before")).toFixed(2)} before the round, ${(speed("on", "after") / speed("off", "after")).toFixed(2)} after it`);
    console.log(`gaps during moves: longest ${gaps.moves_max.toFixed(1)} ms, p99 ${gaps.moves_p99.toFixed(1)}; without, in windows as long: longest ${gaps.calm_max.toFixed(1)}, p99 ${gaps.calm_p99.toFixed(1)} (medians); ` +
      `the longest during moves is ${(gaps.moves_max / gaps.calm_max).toFixed(2)} x the longest without and ${(gaps.moves_max / gaps.calm_p99).toFixed(2)} x the p99 without`);
    console.log(`load of the shards after a round ${load.toFixed(3)} (median of ${rounds.length}; at least 0.95)`);
    console.log(`${streams} answers, ${wrong} unlike those of a quiet cluster, ${errors.length} requests failed`);
    for (const fault of faults) console.log(`FAULT: ${fault}`);
  }
} finally {
  for (const cluster of clusters) await cluster.stop();
}
process.exitCode = failed ? 1 : 0;
