// Every process of a cluster is restarted, and every one is taken away for a while, one by one under 16 streams: no request
// fails, no token differs from those of a quiet run, every process ends by itself with exit code 0.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Fleet } from "./fleet.mjs";
import { quiet, Traffic } from "./traffic.mjs";

const lanes = 16;
const tokens = 128;
const drainSeconds = 60; // far more than a stream takes: who uses it up hangs

function request(lane) {
  return { model: "tiny", messages: [{ role: "user", content: `Tell me ${lane}` }], seed: lane, temperature: 0.8,
    max_tokens: tokens, ignore_eos: true };
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
    expected = [await quiet(fleet, lanes, request)];
    for (const { finish, tokens: said } of expected[0]) assert.deepEqual({ finish, said }, { finish: ["length"], said: tokens });
  });
  after(() => fleet?.stop());

  test("while every process is restarted, one by one", async () => {
    traffic = new Traffic(fleet, { lanes, request, expected });
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
    traffic = new Traffic(fleet, { lanes, request, expected });
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
