#pragma once

// How one call of PagedAttention is cut into pieces of work. Internal to this room. The cut decides
// who computes what and when, never a bit of the result (see attention_span.h).

#include <cstddef>
#include <span>
#include <vector>

#include "common/kernels/attention.h"
#include "common/kernels/attention_span.h"

namespace tessera::kernels {

// Rows of one sequence that follow each other, for one kv head: they read the same keys.
struct AttentionTile {
  size_t first_row;
  size_t row_count;
  size_t kv_head;
  size_t token_begin;  // tokens some row sees
  size_t token_end;

  size_t span_begin() const { return token_begin / kSpanTokens; }
  size_t span_end() const { return (token_end + kSpanTokens - 1) / kSpanTokens; }
  size_t span_count() const { return span_end() - span_begin(); }
};

// A tile whole, or one of its spans.
struct AttentionUnit {
  size_t tile;
  size_t span;           // of a tile that is split
  size_t partial = kNo;  // number of this unit's place for its partial result; kNo: the whole tile
  static constexpr size_t kNo = static_cast<size_t>(-1);
};

// A tile that was split: its partial results lie at places [first_partial, + span_count).
struct SplitTile {
  size_t tile;
  size_t first_partial;
};

struct AttentionPlan {
  std::vector<AttentionTile> tiles;
  std::vector<AttentionUnit> units;  // in the order of work: the largest first
  std::vector<SplitTile> split;
  size_t partial_count = 0;
  size_t tile_rows_max = 0;  // rows of the largest tile
};

struct AttentionShape {
  size_t kv_heads;
  size_t group;  // query heads of one kv head
  size_t window;
  size_t threads;
};

// The first token row sees.
inline size_t FirstVisible(size_t position, size_t window) {
  return window == 0 || position + 1 < window ? 0 : position + 1 - window;
}

AttentionPlan PlanAttention(std::span<const AttentionRow> rows, const AttentionShape& shape);

}  // namespace tessera::kernels
