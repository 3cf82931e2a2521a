// Every process of a cluster is restarted, and every one is taken away for a while, one by one under 16 streams: no request
// fails, no token differs from those of a quiet run, every process ends by itself with exit code 0.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { until } from "../clients/programs.mjs";
import { Fleet } from "./fleet.mjs";
import { stream } from "./sse.mjs";

const lanes = 16;
const tokens = 128;
const drainSeconds = 60; // far more than a stream takes: who uses it up hangs

function request(lane) {
  return { model: "tiny", messages: [{ role: "user", content: `Tell me ${lane}` }], seed: lane, temperature: 0.8,
    max_tokens: tokens, ignore_eos: true };
}

// One stream after another on each lane until told to stop. As a Service does, a stream goes to a gateway that was not told to
// end; those take turns.
class Traffic {
  constructor(fleet, expected) {
    this.fleet = fleet;
    this.expected = expected;
    this.open = new Set(); // {lane, gateway, begun, startedAt}
    this.done = []; // {lane, startedAt, gap}
    this.going = true;
    const running = Array.from({ length: lanes }, (_, lane) => this.#run(lane));
    this.failed = Promise.race(running.map((lane) => lane.then(() => new Promise(() => {})))); // settles only by an error
    this.failed.catch(() => {});
    this.lanes = Promise.allSettled(running);
  }

  async #run(lane) {
    for (let turn = lane; this.going; ++turn) {
      const gateways = this.fleet.of("gateway").filter(({ leaving }) => !leaving);
      const one = { lane, gateway: gateways[turn % gateways.length], begun: false, startedAt: performance.now() };
      this.open.add(one);
      const end = await stream(one.gateway, request(lane), { onText: () => (one.begun = true) });
      this.open.delete(one);
      assert.equal(end.error, undefined, `lane ${lane} by ${one.gateway.name}`);
      assert.deepEqual(end.finish, ["length"]);
      assert.equal(end.usage.completion_tokens, tokens);
      assert.equal(end.text, this.expected[lane], `lane ${lane}`);
      this.done.push({ ...one, gap: end.gap });
    }
  }

  // A lane that failed is not there any more: that is told at once, not by a wait in vain.
  async until(question, what) {
    const answer = until(question, what);
    answer.catch(() => {});
    await Promise.race([answer, this.failed]);
  }

  // All lanes are in the middle of a stream; so nobody is on the way to a gateway that is told to end now.
  async midway() {
    await this.until(() => this.open.size === lanes && [...this.open].every(({ begun }) => begun), "16 open streams");
  }

  async stop() {
    this.going = false;
    const settled = await this.lanes;
    assert.deepEqual(settled.filter(({ reason }) => reason).map(({ reason }) => String(reason)), []);
  }
}

// Tells it to end while all lanes stream. Whatever was open then has to end well; the lanes check that.
async function drain(member, traffic) {
  member.leaving = true;
  await traffic.midway();
  const open = [...traffic.open];
  const through = open.filter(({ gateway }) => gateway === member).length;
  const { code, signal, seconds } = await member.drain();
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, `${member.name}:\n${member.log}`);
  assert.ok(seconds < drainSeconds, `${member.name} took ${seconds} s`);
  if (member.role === "gateway") {
    await traffic.until(() => open.every((one) => one.gateway !== member || !traffic.open.has(one)), "its streams to end");
  }
  return { open: open.length, through, seconds };
}

function figures(member, { open, through, seconds }, ends, more = "") {
  const by = member.role === "gateway" ? `, ${through} by it` : "";
  console.log(`${member.name}: ${open} streams open${by}; ended by itself after ${seconds.toFixed(2)} s${more}; ` +
    `${ends.length} streams since, longest gap ${Math.max(0, ...ends.map(({ gap }) => gap)).toFixed(0)} ms`);
}

describe("16 streams go on", () => {
  let fleet, expected, traffic;
  before(async () => {
    fleet = await Fleet.start({ drainSeconds });
    const quiet = await Promise.all(Array.from({ length: lanes }, (_, lane) => stream(fleet.of("gateway")[lane % 2], request(lane))));
    assert.deepEqual(quiet.filter(({ error }) => error), []);
    expected = quiet.map(({ text }) => text);
  });
  after(() => fleet?.stop());

  test("while every process is restarted, one by one", async () => {
    traffic = new Traffic(fleet, expected);
    for (const member of fleet.members) {
      const before = traffic.done.length;
      const drained = await drain(member, traffic);
      const begin = performance.now();
      await member.start();
      await fleet.settle();
      figures(member, drained, traffic.done.slice(before), `, back after ${((performance.now() - begin) / 1000).toFixed(2)} s`);
    }
    await traffic.stop();
    assert.ok(traffic.done.length >= lanes * 2, `${traffic.done.length} streams`);
    console.log(`restarts of ${fleet.members.length} processes: ${traffic.done.length} streams, 0 failed`);
  });

  test("while every process is drained and stays away for a while, one by one", async () => {
    traffic = new Traffic(fleet, expected);
    for (const member of fleet.members) {
      const before = traffic.done.length;
      const drained = await drain(member, traffic);
      const goneAt = performance.now();
      const without = () => traffic.done.slice(before).filter(({ startedAt }) => startedAt > goneAt);
      await traffic.until(() => new Set(without().map(({ lane }) => lane)).size === lanes, "a whole stream of each lane without it");
      figures(member, drained, traffic.done.slice(before), `, ${without().length} streams from beginning to end without it`);
      await member.start();
      await fleet.settle();
    }
    await traffic.stop();
    console.log(`drains of ${fleet.members.length} processes: ${traffic.done.length} streams, 0 failed`);
    for (const gateway of fleet.of("gateway")) assert.equal((await gateway.metric("tessera_request_aborts_total")) ?? 0, 0, gateway.name);
  });
});
