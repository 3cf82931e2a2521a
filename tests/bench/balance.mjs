#!/usr/bin/env node
// What balancing does for a real cluster on this machine: router, gateway and four expert shards as processes, the model that comes
// with the program, and one kind of prompt, so that few experts carry most rows.
//
//   node tests/bench/balance.mjs [--bin=build/release/bin] [--shards=4] [--replicas=1] [--lanes=16] [--windows=2] [--steps=1000]
//                                [--strict=true] [--prompts=sums] [--json]
//
// Two equal clusters take turns, so that both meet the same moods of the machine: one is left as it began, in the other one round
// of moves is made between the first half of its windows and the second, under the same traffic. Every answer is compared with that
// of a quiet cluster (with --strict=false only counted). It prints the machine's load beside every figure that a busy machine spoils.
// Here and not in tests/load, because it measures and asserts nothing but the answers. Exit code 1: an answer differed, a request failed.

import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");
const options = { bin: path.join(root, "build/release/bin"), shards: 4, replicas: 1, lanes: 16, windows: 2, steps: 1000, strict: true,
  prompts: "sums", json: false };
for (const flag of process.argv.slice(2)) {
  const [, name, value] = /^--(\w+)(?:=(.*))?$/.exec(flag) ?? [];
  if (!(name in options)) {
    console.error(`${flag}: there are ${Object.keys(options).map((known) => `--${known}`).join(", ")}`);
    process.exit(2);
  }
  const kind = typeof options[name];
  options[name] = kind === "number" ? Number(value) : kind === "boolean" ? value !== "false" : value;
}
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
    Object.assign(this, { cluster, name, expected, gaps: [], streams: 0, wrong: 0, errors: [] });
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
    const table = (name) => {
      const cells = {};
      for (const [, layer, shard, value] of page.matchAll(new RegExp(`^${name}\\{layer="(\\d+)",shard="(\\d+)"\\} (\\S+)$`, "gm"))) {
        (cells[layer] ??= {})[shard] = Number(value);
      }
      return cells;
    };
    return { at: performance.now(), steps: metric(page, "tessera_router_steps_total"), tokens: metric(page, "tessera_router_tokens_total"), pairs: table("tessera_router_layer_shard_pairs_total"),
      experts: table("tessera_router_layer_shard_experts_total"), stepRatio: metric(page, "tessera_router_balance_step_ratio") };
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
    const { touch_us, row_us } = (await this.balance()).costs;
    const delta = (name) => Object.keys(after[name]).map((layer) => Object.keys(after[name][layer]).map((shard) =>
      after[name][layer][shard] - (before[name][layer]?.[shard] ?? 0)));
    const pairs = delta("pairs");
    const experts = delta("experts");
    const evenness = (cells) => {
      const of = cells.map((row) => row.reduce((a, b) => a + b, 0) / options.shards / Math.max(...row));
      return of.reduce((a, b) => a + b, 0) / of.length;
    };
    const gaps = this.gaps.slice(first).map(({ gap }) => gap);
    return { steps: after.steps - before.steps, seconds, tokens_per_second: (after.tokens - before.tokens) / seconds,
      load: evenness(pairs.map((row, l) => row.map((count, s) => touch_us * experts[l][s] + row_us * count))),
      pairs: evenness(pairs), experts: evenness(experts), each_step_pairs: after.stepRatio, touch_us, row_us,
      gap_p50: percentile(gaps, 0.5), gap_p99: percentile(gaps, 0.99), gap_max: Math.max(...gaps),
      others_percent: Math.max(0, (100 * (busySeconds() - busy - this.ownSeconds() + own)) / seconds), load_average: loadavg()[0] };
  }
  ownSeconds() {
    return this.cluster.processes().reduce((sum, { pid }) => sum + cpuSeconds(pid), 0) + process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;
  }

  // One round of moves under traffic: how long it took and the gaps of that time.
  async round() {
    return this.under(async () => {
      const rounds = (await this.balance()).rounds;
      const began = performance.now();
      await this.post("/balance/trigger");
      await until(async () => (await this.balance()).rounds > rounds, "a round");
      const { balance, planned, loads } = await this.balance();
      await until(async () => (await this.balance()).pending === 0, "the moves to end");
      const ended = performance.now();
      const gaps = this.gaps.filter(({ at }) => at >= began && at <= ended).map(({ gap }) => gap);
      return { seconds: (ended - began) / 1000, loads, estimated: balance, planned, gap_p99: percentile(gaps, 0.99), gap_max: Math.max(...gaps),
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
  const round = await on.round();
  await half("after");

  const table = [["cluster", "windows", "load", "of pairs", "of experts", "each step (pairs)", "tokens/s", "gap p50/p99/max (ms)", "others (% of a core)", "load average"]];
  for (const [name, when] of [["off", "before"], ["on", "before"], ["off", "after"], ["on", "after"]]) {
    const of = results[name][when];
    const all = (key) => of.map((window) => window[key]);
    table.push([name, when, ...["load", "pairs", "experts"].map((key) => mean(all(key)).toFixed(3)), of.at(-1).each_step_pairs.toFixed(3),
      median(all("tokens_per_second")).toFixed(0), ["gap_p50", "gap_p99", "gap_max"].map((key) => median(all(key)).toFixed(1)).join(" / "),
      median(all("others_percent")).toFixed(0), mean(all("load_average")).toFixed(1)]);
  }
  const speed = (name, when) => median(results[name][when].map((window) => window.tokens_per_second));
  const calm = [...results.off.before, ...results.on.before];
  const p99 = median(calm.map((window) => window.gap_p99));
  const wrong = off.wrong + on.wrong;
  const errors = [...off.errors, ...on.errors];
  failed = errors.length > 0 || (options.strict && wrong > 0);
  if (options.json) {
    console.log(JSON.stringify({ options, results, round, streams: off.streams + on.streams, wrong, errors: errors.length }));
  } else {
    console.log(`${options.shards} shards, ${options.replicas} ${options.replicas === 1 ? "copy" : "copies"}, ${options.lanes} streams at a time of one kind of prompt (${options.prompts}), ` +
      `${options.strict ? "strict" : "fast"}; windows of ${options.steps} steps; ${cpus().length} x ${cpus()[0].model}\n`);
    for (const [i, row] of table.entries()) {
      console.log(`| ${row.join(" | ")} |`);
      if (i === 0) console.log(`|${"---|".repeat(row.length)}`);
    }
    const { touch_us, row_us } = results.on.after.at(-1);
    console.log(`\nload: ${touch_us.toFixed(2)} us an expert of a call and ${row_us.toFixed(2)} us a (row, expert) pair, as fitted from the answers; mean over largest of the shards, averaged over layers`);
    console.log(`round: ${round.loads} experts loaded in ${round.seconds.toFixed(1)} s, ${round.estimated.toFixed(3)} estimated before it, ${round.planned.toFixed(3)} promised`);
    console.log(`tokens/s, on over off: ${(speed("on", "before") / speed("off", "before")).toFixed(2)} before the round, ${(speed("on", "after") / speed("off", "after")).toFixed(2)} after it`);
    console.log(`longest gap during the moves ${round.gap_max.toFixed(1)} ms (p99 ${round.gap_p99.toFixed(1)}) = ${(round.gap_max / p99).toFixed(2)} x the p99 without moves (${p99.toFixed(1)}); ` +
      `the longest without moves was ${median(calm.map((window) => window.gap_max)).toFixed(1)} in a window of ${median(calm.map((window) => window.seconds)).toFixed(1)} s; load average ${round.load_average.toFixed(1)}`);
    console.log(`${off.streams + on.streams} answers, ${wrong} unlike those of a quiet cluster, ${errors.length} requests failed${errors.length > 0 ? `: ${errors[0]}` : ""}`);
  }
} finally {
  for (const cluster of clusters) await cluster.stop();
}
process.exitCode = failed ? 1 : 0;
