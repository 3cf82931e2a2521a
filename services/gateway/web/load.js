// The answer of /v1/experts/load and what can be said about it. No DOM.

function isCounts(list) {
  return Array.isArray(list) && list.every((count) => Number.isFinite(count) && count >= 0);
}

function isRouter({ id, generation_tokens: tokens, sequences_running: running }) {
  return typeof id === "string" && isCounts([tokens, running]);
}

// Checks the shape once; the rest of the page trusts it. `layers` have `shardRows` (one per shard), or null if not all shards tell.
// `routers` are null if the gateway does not tell of them.
export function readLoad(answer) {
  const { window_seconds: windowSeconds = 0, layers, shards, routers = [] } = answer ?? {};
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
    routers: Array.isArray(routers) && routers.length > 0 && routers.every(isRouter)
      ? routers.map(({ id, generation_tokens: tokens, sequences_running: running }) => ({ id, tokens, running })) : null,
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

// The mean over the layers that had rows: of experts, and of those shards that are not lost. As `tessera top` reckons it.
export function balances(load) {
  const atWork = load.shards.map(({ state }) => kindOf(state) !== "lost");
  return {
    experts: meanOf(load.layers.map(({ rows }) => balanceOf(rows))),
    shards: meanOf(load.layers.map(({ shardRows }) => shardRows && balanceOf(shardRows.filter((_, at) => atWork[at])))),
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

// Remembers since when a shard is lost. One that is not told of any more left as it should, after draining: routers tell of those
// that went without.
export class ShardBook {
  #seen = new Map();

  // The shards in the order of their ids: with `kind`, and `lostMs` since when.
  update(shards, nowMs) {
    const before = this.#seen;
    this.#seen = new Map(shards.map((shard) => {
      const kind = kindOf(shard.state);
      return [shard.id, { ...shard, kind, lostMs: kind === "lost" ? before.get(shard.id)?.lostMs ?? nowMs : null }];
    }));
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

// What the routers generate per second, over the last `spanMs`, whichever gateway tells of them. Each of their runs counts for itself:
// one that begins or ends in between is no jump.
export class TokenRate {
  #spanMs;
  #points = [];
  constructor(spanMs) {
    this.#spanMs = spanMs;
  }
  // Null until there are two points with a router in common. `routers` as in a load.
  push(nowMs, routers) {
    if (routers === null) return null;
    this.#points.push({ nowMs, tokens: new Map(routers.map(({ id, tokens }) => [id, tokens])) });
    while (this.#points.length > 2 && this.#points[1].nowMs <= nowMs - this.#spanMs) this.#points.shift();
    let grown = null;
    for (let at = 1; at < this.#points.length; ++at) {
      const [earlier, later] = [this.#points[at - 1].tokens, this.#points[at].tokens];
      for (const [id, tokens] of later) {
        // Two gateways may tell what is a little old in the wrong order; what follows makes up for it.
        if (earlier.has(id)) grown = (grown ?? 0) + tokens - earlier.get(id);
      }
    }
    const passedMs = nowMs - this.#points[0].nowMs;
    return grown === null || passedMs <= 0 ? null : (Math.max(grown, 0) * 1000) / passedMs;
  }
}
