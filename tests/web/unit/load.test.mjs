// What the page makes of the expert load and of the metrics.

import assert from "node:assert/strict";
import { test } from "node:test";
import { History, ShardBook, balanceOf, balances, kindOf, layerSummaries, readLoad, timesMean } from "../page/load.js";
import { Rate, sumOf } from "../page/metrics_text.js";

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
  const lost = { id: "expert-2", state: "lost", rows: 90 };
  assert.equal(balances(readLoad({ ...answer, shards: [...answer.shards, lost] })).shards, 0.8);
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

test("a shard that vanished is lost, comes back, or is forgotten", () => {
  const book = new ShardBook();
  const [a, b] = [{ id: "s-2", state: "live", rows: 7, busy: 0.5 }, { id: "s-10", state: "live", rows: 1, busy: 0 }];
  assert.deepEqual(book.update([b, a], 1000).map(({ id, kind }) => [id, kind]), [["s-2", "live"], ["s-10", "live"]]);
  const lost = book.update([b], 2000)[0];
  assert.deepEqual([lost.kind, lost.state, lost.rows, lost.lostMs], ["lost", "lost", 0, 2000]);
  assert.equal(book.update([b], 3000)[0].lostMs, 2000);
  assert.deepEqual([book.update([a, b], 4000)[0].kind, book.update([a, b], 4000)[0].lostMs], ["live", null]);
  assert.equal(book.update([{ ...a, state: "lost" }, b], 5000)[0].lostMs, 5000);
  assert.equal(book.update([b], 6000)[0].lostMs, 5000);
  assert.deepEqual(book.update([b], 400_000).map(({ id }) => id), ["s-10"]);
});

test("history ends", () => {
  const history = new History(1000);
  for (let at = 0; at <= 3000; at += 250) history.push(at, { value: at });
  assert.deepEqual(history.points.map(({ value }) => value), [2000, 2250, 2500, 2750, 3000]);
});

test("metrics: samples are added up, names are whole", () => {
  const text = [
    "# HELP tokens_total Tokens.", "# TYPE tokens_total counter", 'tokens_total{model="a b} 9"} 5', "tokens_total 2 1700000000",
    "tokens_total_more 100", "more_tokens_total 100", "load 1.5e+03", "bad NaN",
  ].join("\n");
  assert.equal(sumOf(text, "tokens_total"), 7);
  assert.equal(sumOf(text, "load"), 1500);
  assert.equal(sumOf(text, "bad"), null);
  assert.equal(sumOf(text, "none"), null);
  assert.equal(sumOf("", "none"), null);
});

test("a rate looks back over its span and begins anew with its counter", () => {
  const rate = new Rate(2000);
  assert.equal(rate.push(0, 100), null);
  assert.equal(rate.push(1000, 110), 10);
  assert.equal(rate.push(2000, 120), 10);
  assert.equal(rate.push(4000, 160), 20);
  assert.equal(rate.push(5000, null), null);
  assert.equal(rate.push(6000, 0), null);
  assert.equal(rate.push(7000, 5), 5);
});
