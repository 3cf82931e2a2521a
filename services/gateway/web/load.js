// The answer of /v1/experts/load and what can be said about it. No DOM.

const forgetMs = 300_000; // a lost shard is shown so long

function isCounts(list) {
  return Array.isArray(list) && list.every((count) => Number.isFinite(count) && count >= 0);
}

// Checks the shape once; the rest of the page trusts it. `layers` have `shardRows` (one per shard), or null if not all shards tell.
export function readLoad(answer) {
  const { window_seconds: windowSeconds = 0, layers, shards } = answer ?? {};
  if (!Array.isArray(layers) || !Array.isArray(shards)) throw new Error("no layers and shards");
  const width = layers[0]?.rows?.length ?? 0;
  const allTell = shards.every(({ layer_rows: told }) => isCounts(told) && told.length === layers.length);
  return {
    windowSeconds,
    layers: layers.map(({ layer, rows }, at) => {
      if (!isCounts(rows) || rows.length !== width) throw new Error(`layer ${layer} has no rows for each of ${width} experts`);
      return { layer, rows, shardRows: allTell ? shards.map(({ layer_rows: told }) => told[at]) : null };
    }),
    shards: shards.map(({ id, state = "live", rows = 0, busy_ratio: busy = null }) => ({ id: String(id), state, rows, busy })),
  };
}

export function sum(counts) {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}

// mean / max, in (0, 1]; 1 is even. Null if nothing was counted.
export function balanceOf(counts) {
  const total = sum(counts);
  return total > 0 ? total / counts.length / Math.max(...counts) : null;
}

function meanOf(values) {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? sum(known) / known.length : null;
}

// How often each entry has the mean of its list; all 0 if nothing was counted.
export function timesMean(counts) {
  const mean = sum(counts) / counts.length;
  return counts.map((count) => (mean > 0 ? count / mean : 0));
}

// Per layer: { layer, total, balance, busiest: index, times: of the busiest }.
export function layerSummaries(load) {
  return load.layers.map(({ layer, rows }) => {
    const total = sum(rows);
    const busiest = rows.indexOf(Math.max(...rows));
    return { layer, total, balance: balanceOf(rows), busiest, times: total > 0 ? (rows[busiest] * rows.length) / total : 0 };
  });
}

// Of experts: the mean over the layers that had rows. Of shards: of the rows of those that are not lost.
export function balances(load) {
  const working = load.shards.filter(({ state }) => kindOf(state) !== "lost");
  return {
    experts: meanOf(load.layers.map(({ rows }) => balanceOf(rows))),
    shards: working.length > 1 ? balanceOf(working.map(({ rows }) => rows)) : null,
  };
}

const kinds = {
  live: "live", ready: "live",
  loading: "changing", starting: "changing", joining: "changing", draining: "changing",
};

// live, changing or lost: whatever is not known to be well is shown as lost.
export function kindOf(state) {
  return kinds[String(state).toLowerCase()] ?? "lost";
}

// Remembers the shards seen, so that one which vanished is shown as lost instead of not at all.
export class ShardBook {
  #seen = new Map();

  // All shards to be shown, in the order of their ids: with `kind`, and `lostMs` since when.
  update(shards, nowMs) {
    for (const shard of shards) {
      const before = this.#seen.get(shard.id);
      const kind = kindOf(shard.state);
      this.#seen.set(shard.id, { ...shard, kind, lostMs: kind === "lost" ? before?.lostMs ?? nowMs : null });
    }
    const told = new Set(shards.map(({ id }) => id));
    for (const [id, shard] of this.#seen) {
      if (told.has(id)) continue;
      const lostMs = shard.lostMs ?? nowMs;
      if (nowMs - lostMs > forgetMs) this.#seen.delete(id);
      else this.#seen.set(id, { ...shard, kind: "lost", state: "lost", rows: 0, busy: null, lostMs });
    }
    return [...this.#seen.values()].sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
  }
}

// The last `spanMs` of some values; null where there was none.
export class History {
  #spanMs;
  points = [];
  constructor(spanMs) {
    this.#spanMs = spanMs;
  }
  push(nowMs, values) {
    this.points.push({ nowMs, ...values });
    while (this.points[0].nowMs < nowMs - this.#spanMs) this.points.shift();
  }
}
