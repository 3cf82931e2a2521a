#include "common/kernels/attention_plan.h"

#include <algorithm>

namespace tessera::kernels {
namespace {

// Eight microtiles: what is read of a span is then used often enough that reading does not show,
// and the tile's scores still fit the second cache.
constexpr size_t kTileQueries = 8 * kMicroQueries;

bool Follows(const AttentionRow& row, const AttentionRow& next) {
  return next.blocks.data() == row.blocks.data() && next.position == row.position + 1;
}

void AddTiles(std::span<const AttentionRow> rows, const AttentionShape& shape, size_t tile_rows,
              AttentionPlan& plan) {
  for (size_t first = 0; first < rows.size();) {
    size_t end = first + 1;
    while (end < rows.size() && end - first < tile_rows && Follows(rows[end - 1], rows[end])) ++end;
    for (size_t head = 0; head < shape.kv_heads; ++head) {
      plan.tiles.push_back({.first_row = first,
                            .row_count = end - first,
                            .kv_head = head,
                            .token_begin = FirstVisible(rows[first].position, shape.window),
                            .token_end = size_t{rows[end - 1].position} + 1});
    }
    plan.tile_rows_max = std::max(plan.tile_rows_max, end - first);
    first = end;
  }
}

}  // namespace

AttentionPlan PlanAttention(std::span<const AttentionRow> rows, const AttentionShape& shape) {
  AttentionPlan plan;
  AddTiles(rows, shape, std::max<size_t>(1, kTileQueries / shape.group), plan);
  const auto cost = [&](size_t tile) {
    return plan.tiles[tile].row_count * plan.tiles[tile].span_count();
  };
  size_t total = 0;
  for (size_t i = 0; i < plan.tiles.size(); ++i) total += cost(i);
  for (size_t i = 0; i < plan.tiles.size(); ++i) {
    // A tile that is more than half of a thread's share would keep the others waiting at the end.
    const size_t spans = plan.tiles[i].span_count();
    if (shape.threads == 1 || spans == 1 || cost(i) * shape.threads * 2 <= total) {
      plan.units.push_back({.tile = i, .span = 0});
      continue;
    }
    plan.split.push_back({.tile = i, .first_partial = plan.partial_count});
    for (size_t span = plan.tiles[i].span_begin(); span < plan.tiles[i].span_end(); ++span) {
      plan.units.push_back({.tile = i, .span = span, .partial = plan.partial_count++});
    }
  }
  const auto unit_cost = [&](const AttentionUnit& unit) {
    return unit.partial == AttentionUnit::kNo ? cost(unit.tile) : plan.tiles[unit.tile].row_count;
  };
  std::stable_sort(
      plan.units.begin(), plan.units.end(),
      [&](const AttentionUnit& a, const AttentionUnit& b) { return unit_cost(a) > unit_cost(b); });
  return plan;
}

}  // namespace tessera::kernels
