// Experts move all the time while processes are killed, come back, join and leave under traffic whose hot experts change: no request
// fails, no token differs, every expert keeps its copies, no move hangs. First with one copy of each expert, then with two: there a
// killed shard takes no expert along. TESSERA_LOAD=full does each ten times.

import assert from "node:assert/strict";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { loadavg } from "node:os";
import { metric, until } from "../clients/programs.mjs";
import { Fleet } from "./fleet.mjs";
import { quiet, Traffic } from "./traffic.mjs";

const runs = process.env.TESSERA_LOAD === "full" ? 10 : 1;
const lanes = 12;
const shards = 3;
const spare = 96; // slots of a shard: few enough that other hot experts need the place of those before
const stalledMax = 40; // seconds; the router gives a round up that does not get on for 30
const model = path.resolve(import.meta.dirname, "../../deploy/models/tessera-demo");

// Rounds follow each other as fast as they can, a few experts at a time, read slowly enough that something is always under way.
const balance = { enabled: true, interval_seconds: 0.3, threshold: 1, target: 1, gain_min: 0, window_steps: 200, steps_min: 20,
  loads_max: 48, slots_kept_free: 0.02, bytes_per_second_max: 1_000_000 };

const kinds = [
  (lane) => `What is ${17 + lane} + ${25 + 3 * lane}?`,
  (lane) => `Reverse: ${["one", "two", "three", "four", "five"].slice(lane % 3).join(" ")}`,
  (lane) => ["What is Tessera?", "How do I start it?", "What is a shard?", "What is a router?"][lane % 4],
];
function request(lane, kind) {
  return { model: "tessera-demo", messages: [{ role: "user", content: kinds[kind](lane) }], temperature: 0, max_tokens: 160 };
}

// Numbers that repeat from run to run (a linear congruence).
class Dice {
  constructor(seed) {
    this.state = seed >>> 0;
  }
  below(limit) {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 2 ** 32) * limit);
  }
}

// Looks again and again at what the leading router says of coverage and moves; what it may not say ends the test.
class Watch {
  constructor(fleet) {
    this.fleet = fleet;
    this.leader = fleet.of("router")[0];
    this.away = undefined; // a shard that was killed and is not wholly back
    this.copiesMin = fleet.replicas; // fewest copies that an expert may have now; undefined: somebody was killed who held the only ones
    this.fewest = Infinity;
    this.stalled = 0;
    this.looks = 0;
    this.silent = 0;
    this.events = 0;
    this.amid = 0; // of the events, while experts moved
    this.phase = "";
    this.going = true;
    this.end = this.#look();
    this.end.catch(() => {});
  }
  async #look() {
    while (this.going) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const { copiesMin, leader } = this;
      if (copiesMin === undefined) continue;
      const page = await leader.metrics().catch((error) => {
        if (copiesMin === this.copiesMin) throw error;
      });
      if (page === undefined) continue; // the leader was killed meanwhile
      const [linked, copies, missing, stalled] = ["shards_linked", "expert_copies_min", "experts_missing", "balance_stalled_seconds"]
        .map((name) => metric(page, `tessera_router_${name}`));
      if (copiesMin !== this.copiesMin) continue; // somebody was killed meanwhile
      const there = this.fleet.of("expert").filter((shard) => shard !== this.away && shard.alive() && !shard.leaving);
      if (linked < there.length) {
        ++this.silent; // a busy machine kept a shard from saying that it lives
        continue;
      }
      ++this.looks;
      this.stalled = Math.max(this.stalled, stalled);
      this.fewest = Math.min(this.fewest, copies);
      assert.ok(copies >= copiesMin && missing === 0, `${copies} copies of some expert, ${missing} experts missing; ${copiesMin} copies must be there; ${linked} shards, ${this.phase}`);
      assert.ok(stalled < stalledMax, `a round stands still for ${stalled} s`);
    }
  }
  // With fewer copies than usual, or unwatched, for as long as `work` takes; without `shard`, if one is killed.
  async during(copiesMin, work, shard) {
    Object.assign(this, { copiesMin, away: shard });
    const result = await work();
    Object.assign(this, { copiesMin: this.fleet.replicas, away: undefined });
    return result;
  }
  async stop() {
    this.going = false;
    await this.end;
  }
}

for (const replicas of [1, 2]) describe(`${lanes} streams go on while experts move, ${replicas} copies of each`, () => {
  let fleet, expected;
  before(async () => {
    fleet = await Fleet.start({ drainSeconds: 30, model, shards, replicas, spare, balance });
    fleet.addShard();
    expected = [];
    for (const kind of kinds.keys()) expected.push(await quiet(fleet, lanes, request, kind));
  });
  after(() => fleet?.stop());

  const leader = () => fleet.of("router")[0];
  const of = async (name) => (await leader().metric(`tessera_router_${name}`)) ?? 0;

  async function leave(shard) {
    shard.leaving = true;
    const { code, signal, seconds } = await shard.drain();
    shard.leaving = false;
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, shard.log);
    assert.ok(seconds < 30, `${seconds} s`);
  }
  // So that there is something to move: other experts become hot. Two copies of all stay even all the same, so a shard comes that is
  // to have its share, if need be after it went.
  async function stir(traffic, joins) {
    traffic.kind = (traffic.kind + 1) % kinds.length;
    if (replicas === 1) return;
    if (joins.alive()) await leave(joins);
    await joins.start();
  }
  // A round is under way that began after this was asked; or, if it takes too long, there is nothing to gain.
  async function amidMoves(traffic, watch, then) {
    watch.phase = then;
    const say = (what) => fleet.keep("test", `${new Date().toISOString()} ${what}\n`);
    say(`soon ${then}`);
    const rounds = await of("balance_rounds_total");
    await stir(traffic, fleet.of("expert")[shards]);
    const asked = performance.now();
    const moving = await traffic.until(async () => {
      if ((await of("balance_rounds_total")) > rounds && (await of("balance_moves_pending")) > 0) return "yes";
      return performance.now() - asked > 8000 && "no";
    }, "moves under way");
    watch.amid += moving === "yes";
    ++watch.events;
    say(`${then}; experts move: ${moving}`);
  }
  // Every expert has its copies again.
  async function whole(traffic) {
    await fleet.settle();
    await traffic.until(async () => (await of("expert_copies_min")) >= replicas, "all copies");
  }

  for (let run = 1; run <= runs; ++run) {
    test(`run ${run}: shards and routers killed, a shard joins and leaves`, async () => {
      const began = performance.now();
      const dice = new Dice(run);
      const traffic = new Traffic(fleet, { lanes, request, expected, kind: run % kinds.length });
      const watch = new Watch(fleet);
      traffic.failed = Promise.race([traffic.failed, watch.end.then(() => new Promise(() => {}))]);
      traffic.failed.catch(() => {});
      try {
        for (let turn = 0; turn < 2; ++turn) {
          const shard = fleet.of("expert")[dice.below(shards)];
          await amidMoves(traffic, watch, `${shard.name} is killed`);
          await watch.during(replicas > 1 ? replicas - 1 : undefined, async () => {
            await shard.kill();
            await shard.start();
            await whole(traffic);
          }, shard);
        }
        const joins = fleet.of("expert")[shards];
        if (!joins.alive()) await joins.start();
        await traffic.until(async () => (await joins.metric("tessera_expert_shard_units_held")) > 0 &&
          (await joins.metric("tessera_expert_shard_calls_total")) > 0, "the shard that joined to serve");
        const dies = dice.below(2) === 0;
        await amidMoves(traffic, watch, `${joins.name} ${dies ? "is killed" : "leaves"}`);
        if (dies) {
          await watch.during(replicas, async () => { // it held copies only
            await joins.kill();
            await whole(traffic);
          }, joins);
        } else {
          await leave(joins);
          await whole(traffic);
        }
        for (const router of fleet.of("router")) {
          await amidMoves(traffic, watch, `${router.name} is killed`);
          await watch.during(undefined, async () => {
            await router.kill();
            await router.start();
            await whole(traffic);
          });
        }
      } finally {
        await watch.stop();
        await traffic.stop();
      }
      assert.ok(watch.amid > 0, "nothing moved when anything happened");
      // Without traffic there is nothing more to gain: what is under way ends.
      await until(async () => (await of("balance_moves_pending")) === 0, "the moves to end");
      console.log(`run ${run}, ${replicas} copies: ${((performance.now() - began) / 1000).toFixed(1)} s, ${traffic.done.length} streams, 0 failed; ` +
        `${watch.amid} of ${watch.events} kills and departures while experts moved, fewest copies ${watch.fewest} in ${watch.looks} looks (${watch.silent} more while a shard was silent), ` +
        `longest stand ${watch.stalled.toFixed(1)} s, longest wait of a stream for a token ${(Math.max(...traffic.done.map(({ gap }) => gap)) / 1000).toFixed(1)} s; load of the machine ${loadavg()[0].toFixed(1)}`);
    });
  }
});
