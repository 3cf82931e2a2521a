#!/usr/bin/env node
// Does balancing follow a load that changes? Two gateways, two routers and four expert shards as processes, the model that comes with
// the program, streams that follow each other; every half minute they ask for another kind of thing, which makes other experts hot.
//
//   node tests/bench/shifting.mjs [--bin=build/release/bin] [--shards=4] [--lanes=16] [--minutes=10] [--shift=30] [--interval=5]
//                                 [--window_steps=1000] [--threshold=0.92] [--spare=-1]
//
// `shift` and `interval` in seconds; interval, window_steps and threshold are the balancer's settings of these names, all others are as
// they come. `spare`: slots of a shard for copies; -1: its own choice.
//
// Once a second it asks how evenly the shards were loaded for the last four (mean over largest of what their calls cost, averaged over
// layers). Exit code 1: a shift was not followed (to 0.9 within two rounds), a round moved more than it may, the load fell below 0.85
// again, more than two experts went back to a shard that they had left during the same shift, or an answer differed from that of a quiet
// cluster.

import { loadavg } from "node:os";
import path from "node:path";
import { readFlags } from "./flags.mjs";
import { shardCounters, shardLoad } from "./shard_load.mjs";

const root = path.resolve(import.meta.dirname, "../..");
const lookSeconds = 4;
const options = readFlags({ bin: path.join(root, "build/release/bin"), shards: 4, lanes: 16, minutes: 10, shift: 30, interval: 5, window_steps: 1000,
  threshold: 0.92, spare: -1 });
if (options.shift <= 2 * lookSeconds) {
  console.error(`--shift=${options.shift}: more than ${2 * lookSeconds} seconds, as a look is at ${lookSeconds}`);
  process.exit(2);
}
process.env.TESSERA_BIN = path.resolve(options.bin);
const { Fleet } = await import("../load/fleet.mjs");
const { quiet, Traffic } = await import("../load/traffic.mjs");

const wanted = 0.9;
const fallen = 0.85;
const roundsMax = 2; // that a shift may take
const returnsMax = 2; // experts of a shift that noise may send back
const loadsMax = 256; // of a round, the balancer's own limit
const cities = ["Oslo", "Paris", "Rome", "Bern", "Madrid"];
const kinds = [
  (lane) => `What is ${17 + lane} + ${25 + 3 * lane}?`,
  (lane) => `Reverse: ${["one", "two", "three", "four", "five", "six"].slice(lane % 4).join(" ")}`,
  (lane) => ["What is Tessera?", "How do I start it?", "What is a shard?", "What is a router?"][lane % 4],
  (lane) => `What is the weather in ${cities[lane % cities.length]}?`,
  (lane) => `Sort: ${["tree", "apple", "river", "cloud", "house"].slice(lane % 3).join(" ")}`,
  (lane) => `My name is ${["Anna", "Peter", "Maria", "Paul"][lane % 4]}. What is my name?`,
  (lane) => `Write a poem about ${["rain", "the sea", "bread", "a king"][lane % 4]}.`,
];
const weather = { type: "function", function: { name: "get_weather", description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } };
const request = (lane, kind) => ({ model: "tessera-demo", messages: [{ role: "user", content: kinds[kind](lane) }], temperature: 0, max_tokens: 160,
  ...(kind === 3 ? { tools: [weather] } : {}) });
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

// What both routers counted, of which each gets a part of the streams.
async function counters(fleet) {
  const [first, second] = await Promise.all(fleet.of("router").map(async (router) => shardCounters(await router.metrics())));
  for (const name of ["pairs", "experts"]) {
    for (const [layer, row] of Object.entries(second[name])) {
      for (const [shard, count] of Object.entries(row)) {
        first[name][layer] ??= {};
        first[name][layer][shard] = (first[name][layer][shard] ?? 0) + count;
      }
    }
  }
  return first;
}

// One shift: the load second by second, and the rounds of moves.
class Shift {
  constructor() {
    Object.assign(this, { began: performance.now(), looks: [], rounds: 0, loads: 0, most: 0, returns: 0, left: new Map() });
  }
  count({ loads, moves }) {
    ++this.rounds;
    this.loads += loads;
    this.most = Math.max(this.most, loads);
    for (const { layer, expert, from, to } of moves) {
      const unit = `${layer}/${expert}`;
      if (to !== undefined && this.left.get(unit)?.has(to)) ++this.returns;
      if (from !== undefined) this.left.set(unit, (this.left.get(unit) ?? new Set()).add(from));
    }
  }
  look(load) {
    this.looks.push({ seconds: (performance.now() - this.began) / 1000, load, rounds: this.rounds });
  }
  // `at`: the first look, at seconds of this shift only, that found the load as wanted; -1: none.
  get result() {
    const own = this.looks.filter(({ seconds }) => seconds >= lookSeconds);
    const at = own.findIndex(({ load }) => load >= wanted);
    return { at: own[at]?.seconds ?? -1, needed: own[at]?.rounds ?? Infinity, worst: Math.min(...own.map(({ load }) => load)),
      last: own.at(-1).load, lowest: Math.min(...own.slice(at).map(({ load }) => load)) };
  }
  faults() {
    const { at, needed, lowest } = this.result;
    const faults = [];
    if (at < 0) faults.push(`the load never was as even as ${wanted}`);
    else if (needed > roundsMax) faults.push(`${needed} rounds until it was as even as ${wanted}`);
    if (at >= 0 && lowest < fallen) faults.push(`the load fell to ${lowest.toFixed(3)} again`);
    if (this.most > loadsMax) faults.push(`a round loaded ${this.most} experts`);
    if (this.returns > returnsMax) faults.push(`${this.returns} experts went back to shards that they had left`);
    return faults;
  }
}

const shifts = [];
const fleet = await Fleet.start({ model: path.join(root, "deploy/models/tessera-demo"), shards: options.shards, replicas: 1, spare: options.spare,
  balance: { interval_seconds: options.interval, window_steps: options.window_steps, threshold: options.threshold } });
try {
  const expected = [];
  for (const kind of kinds.keys()) expected.push(await quiet(fleet, options.lanes, request, kind));
  const leader = fleet.of("router")[0];
  const balance = async () => (await fetch(`http://${leader.admin}/balance`)).json();
  const traffic = new Traffic(fleet, { lanes: options.lanes, request, expected });
  const past = []; // counters of the last seconds
  let { rounds } = await balance();
  for (let shift = 0; shift < (60 * options.minutes) / options.shift; ++shift) {
    traffic.kind = shift % kinds.length;
    shifts.push(new Shift());
    let said;
    while (performance.now() - shifts.at(-1).began < 1000 * options.shift) {
      await Promise.race([sleep(1), traffic.failed]);
      said = await balance();
      if (said.rounds > rounds) shifts.at(-1).count(said);
      rounds = said.rounds;
      past.push(await counters(fleet));
      if (past.length <= lookSeconds) continue;
      shifts.at(-1).look(shardLoad(past.shift(), past.at(-1), options.shards, said.costs).load);
    }
    const { at, needed, worst, last, lowest } = shifts.at(-1).result;
    const { loads, returns } = shifts.at(-1);
    console.log(`shift ${String(shift + 1).padStart(2)}: load ${worst.toFixed(3)} at worst, ${last.toFixed(3)} at its end; ${wanted} after ${at.toFixed(0)} s and ${needed} rounds, ` +
      `then ${lowest.toFixed(3)} at least; ${loads} experts loaded in ${shifts.at(-1).rounds} rounds, ${returns} went back; the balancer's last look: ` +
      `${said.verdict}, ${said.balance.toFixed(3)} by its estimate; load average ${loadavg()[0].toFixed(1)}`);
  }
  await traffic.stop();
  const sum = (key) => shifts.reduce((total, shift) => total + shift[key], 0);
  console.log(`${options.minutes} minutes, another kind of prompt every ${options.shift} s, a look every ${options.interval} s: ${traffic.done.length} streams, all as on a quiet cluster; ` +
    `${sum("rounds")} rounds, ${sum("loads")} experts loaded, ${sum("returns")} went back`);
} finally {
  await fleet.stop();
}
for (const [index, shift] of shifts.entries()) {
  for (const fault of shift.faults()) {
    console.log(`FAULT: shift ${index + 1}: ${fault}`);
    process.exitCode = 1;
  }
}
