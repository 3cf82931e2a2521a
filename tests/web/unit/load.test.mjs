// What the page makes of the expert load.

import assert from "node:assert/strict";
import { test } from "node:test";
import { History, ShardBook, TokenRate, balanceOf, balances, kindOf, layerSummaries, readLoad, timesMean } from "../page/load.js";

const answer = {
  window_seconds: 10,
  layers: [{ layer: 2, rows: [4, 0, 0, 4] }, { layer: 3, rows: [0, 0, 0, 0] }],
  shards: [{ id: "expert-0", state: "live", rows: 5, busy_ratio: 0.25, layer_rows: [5, 0] },
    { id: "expert-1", state: "draining", rows: 3, layer_rows: [3, 0] }],
};

test("an answer is read, and a wrong one is refused", () => {
  const load = readLoad(answer);
  assert.deepEqual(load.layers.map(({ shardRows }) => shardRows), [[5, 3], [0, 0]]);
  assert.deepEqual(load.shards[0], { id: "expert-0", state: "live", rows: 5, busy: 0.25 });
  assert.equal(load.shards[1].busy, null);
  assert.deepEqual(readLoad({ layers: [], shards: [] }).layers, []);
  const layers = (...rows) => ({ layers: rows.map((row, layer) => ({ layer, rows: row })), shards: [] });
  for (const wrong of [null, {}, { layers: 1, shards: [] }, layers([1], [1, 2]), layers([-1]), layers(["1"]), layers(undefined)]) {
    assert.throws(() => readLoad(wrong), Error, JSON.stringify(wrong));
  }
  const router = { id: "f0", generation_tokens: 9, prompt_tokens: 1, sequences_running: 2, sequences_waiting: 0 };
  assert.deepEqual(readLoad({ ...answer, routers: [router] }).routers, [{ id: "f0", tokens: 9, running: 2 }]);
  for (const routers of [undefined, null, [], [{ id: "f0" }], [{ ...router, generation_tokens: "9" }]]) {
    assert.equal(readLoad({ ...answer, routers }).routers, null);
  }
  for (const told of [undefined, [1], [1, -1]]) {
    const partial = readLoad({ ...answer, shards: [answer.shards[0], { ...answer.shards[1], layer_rows: told }] });
    assert.equal(partial.layers[0].shardRows, null);
  }
});

test("balance is mean over max", () => {
  assert.equal(balanceOf([4, 0, 0, 4]), 0.5);
  assert.equal(balanceOf([3, 3, 3]), 1);
  assert.equal(balanceOf([0, 0]), null);
  assert.equal(balanceOf([]), null);
  assert.deepEqual(balances(readLoad(answer)), { experts: 0.5, shards: 0.8 });
  for (const state of ["lost", "unreachable"]) {
    const gone = { id: "expert-2", state, rows: 90, layer_rows: [90, 0] };
    assert.equal(balances(readLoad({ ...answer, shards: [...answer.shards, gone] })).shards, 0.8);
  }
  // The mean of the layers, not the balance of all rows: here each shard has 4 in all, and each layer is one shard's.
  const crossed = readLoad({ layers: [{ layer: 0, rows: [4] }, { layer: 1, rows: [4] }, { layer: 2, rows: [0] }],
    shards: [{ id: "a", rows: 4, layer_rows: [4, 0, 0] }, { id: "b", rows: 4, layer_rows: [0, 4, 0] }] });
  assert.deepEqual(balances(crossed), { experts: 1, shards: 0.5 });
  assert.deepEqual(balances(readLoad({ layers: [], shards: [{ id: "a", rows: 3 }] })), { experts: null, shards: null });
  assert.deepEqual(timesMean([4, 0, 0, 4]), [2, 0, 0, 2]);
  assert.deepEqual(timesMean([0, 0]), [0, 0]);
});

test("layers in words", () => {
  assert.deepEqual(layerSummaries(readLoad(answer)), [
    { layer: 2, total: 8, balance: 0.5, busiest: 0, times: 2 },
    { layer: 3, total: 0, balance: null, busiest: 0, times: 0 },
  ]);
});

test("states have three kinds; the unknown is no good news", () => {
  assert.deepEqual(["live", "LIVE", "ready", "loading", "draining", "lost", "unreachable", "", undefined].map(kindOf),
    ["live", "live", "live", "changing", "changing", "lost", "lost", "lost", "lost"]);
});

test("a lost shard is lost since then; one that drained, so is not told of any more, is forgotten", () => {
  const book = new ShardBook();
  const [a, b] = [{ id: "s-2", state: "live", rows: 7, busy: 0.5 }, { id: "s-10", state: "live", rows: 1, busy: 0 }];
  assert.deepEqual(book.update([b, a], 1000).map(({ id, kind }) => [id, kind]), [["s-2", "live"], ["s-10", "live"]]);
  const lost = { ...a, state: "lost" };
  assert.deepEqual(book.update([lost, b], 2000).map(({ kind, lostMs }) => [kind, lostMs]), [["lost", 2000], ["live", null]]);
  assert.equal(book.update([lost, b], 3000)[0].lostMs, 2000);
  assert.deepEqual([book.update([a, b], 4000)[0].kind, book.update([a, b], 4000)[0].lostMs], ["live", null]);
  assert.equal(book.update([{ ...a, state: "draining" }, b], 4500)[0].kind, "changing");
  assert.deepEqual(book.update([b], 5000).map(({ id, kind }) => [id, kind]), [["s-10", "live"]]);
  assert.equal(book.update([lost, b], 6000)[0].lostMs, 6000);
});

test("history ends", () => {
  const history = new History(1000);
  for (let at = 0; at <= 3000; at += 250) history.push(at, { value: at });
  assert.deepEqual(history.points.map(({ value }) => value), [2000, 2250, 2500, 2750, 3000]);
});

test("the rate is that of the routers, whichever gateway tells", () => {
  const rate = new TokenRate(2000);
  const routers = (counts) => Object.entries(counts).map(([id, tokens]) => ({ id, tokens, running: 0 }));
  assert.equal(rate.push(0, routers({ a: 100, b: 9000 })), null);
  assert.equal(rate.push(1000, routers({ a: 110, b: 9010 })), 20);
  assert.equal(rate.push(2000, routers({ b: 9020, a: 120 })), 20);
  assert.equal(rate.push(4000, routers({ a: 160, b: 9020 })), 20);
  assert.equal(rate.push(5000, null), null); // a gateway that does not tell
  // b was started anew as c: what it counted by then is no jump, what it counts from there on is.
  assert.equal(rate.push(6000, routers({ a: 160, c: 5000 })), 0);
  assert.equal(rate.push(7000, routers({ a: 160, c: 5030 })), 10);
  assert.equal(rate.push(8000, routers({ a: 160, c: 5030 })), 15);
});

test("what is told a little late is no loss, and nothing in common is no rate", () => {
  const rate = new TokenRate(5000);
  const one = (id, tokens) => [{ id, tokens, running: 0 }];
  rate.push(0, one("a", 100));
  assert.equal(rate.push(1000, one("a", 98)), 0);
  assert.equal(rate.push(2000, one("a", 110)), 5);
  const anew = new TokenRate(5000);
  anew.push(0, one("a", 100));
  assert.equal(anew.push(1000, one("b", 100)), null);
  assert.equal(anew.push(1000, []), null);
});
