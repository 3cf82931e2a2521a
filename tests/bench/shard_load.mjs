// How evenly expert shards are loaded, from what a router counts.

// [layer][shard] of a counter on a page of metrics.
function cells(page, name) {
  const table = {};
  for (const [, layer, shard, value] of page.matchAll(new RegExp(`^${name}\\{layer="(\\d+)",shard="(\\d+)"\\} (\\S+)$`, "gm"))) {
    (table[layer] ??= {})[shard] = Number(value);
  }
  return table;
}

// [layer][shard] of (row, expert) pairs and of different experts, since the router began.
export function shardCounters(page) {
  return { pairs: cells(page, "tessera_router_layer_shard_pairs_total"), experts: cells(page, "tessera_router_layer_shard_experts_total") };
}

// Mean over largest of the shards, averaged over layers.
function evenness(table, shards) {
  const of = table.map((row) => row.reduce((a, b) => a + b, 0) / shards / Math.max(...row));
  return of.reduce((a, b) => a + b, 0) / of.length;
}

// Between two looks: of what calls cost (by touch_us an expert of a call and row_us a pair), of pairs, of different experts.
export function shardLoad(before, after, shards, { touch_us, row_us }) {
  const delta = (name) => Object.keys(after[name]).map((layer) => Object.keys(after[name][layer]).map((shard) =>
    after[name][layer][shard] - (before[name][layer]?.[shard] ?? 0)));
  const pairs = delta("pairs");
  const experts = delta("experts");
  return { load: evenness(pairs.map((row, l) => row.map((count, s) => touch_us * experts[l][s] + row_us * count)), shards),
    pairs: evenness(pairs, shards), experts: evenness(experts, shards) };
}
