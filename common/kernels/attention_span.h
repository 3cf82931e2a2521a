#pragma once

// The inside of PagedAttention. Internal to this room.
//
// Keys are taken in spans of 256, cut at multiples of 256 from the start of the sequence. A span
// gives each query a partial result: the largest score, the sum of the weights 2^(score - largest)
// and the sum of the values so weighted, from zero. Partial results are folded in ascending order.
// Span and fold are the same operations on the same operands for a query whatever shares the call,
// hence bits do not depend on company, chunks or threads:
//
//   queries --Pack--> tile --AttendSpan--> partial --FoldSpan--> total --FinishQuery--> out
//
// Scores are in units of log2: queries are multiplied by log2(e) / sqrt(head_dim) when packed.

#include <cstddef>
#include <cstdint>

#include "common/kernels/attention.h"

namespace tessera::kernels {

inline constexpr size_t kSpanTokens = 256;
inline constexpr size_t kSpanBlocks = kSpanTokens / kKvBlockTokens;

// This many blocks (16 KiB at head_dim 128 in bf16) are used by all microtiles before the next:
// they stay in the first cache.
inline constexpr size_t kGroupBlocks = 4;

// Queries go through the products in microtiles of up to 6: 6 x 16 sums fill 12 of 16 registers.
inline constexpr size_t kMicroQueries = 6;

// `queries` are cut into the fewest microtiles, as even as can be, the larger ones first. Static,
// so that each level's files have their own.
[[maybe_unused]] static constexpr size_t MicroTileCount(size_t queries) {
  return (queries + kMicroQueries - 1) / kMicroQueries;
}
[[maybe_unused]] static constexpr size_t MicroTileBegin(size_t queries, size_t index) {
  const size_t count = MicroTileCount(queries);
  const size_t larger = queries % count;
  return index * (queries / count) + (index < larger ? index : larger);
}

// Tokens of a span that a query sees; begin == end: none.
struct TokenRange {
  uint32_t begin;
  uint32_t end;
};

// head_dim rounded up to whole pairs of vectors: the row length of weighted sums.
[[maybe_unused]] static constexpr size_t PaddedDim(size_t head_dim) {
  return (head_dim + 15) / 16 * 16;
}

// One span for a tile of queries that share a kv head.
struct SpanTask {
  // Where the keys and values of this kv head lie in block i of the span. Those no query sees are
  // not read, but fetched ahead: any address will do. keys goes on into the next span for that.
  const std::byte* keys[kSpanBlocks + kGroupBlocks];
  const std::byte* values[kSpanBlocks];
  KvType type;
  size_t head_dim;
  size_t query_count;
  const float* queries;       // packed: per microtile [head_dim][size of the microtile]
  const TokenRange* visible;  // [query_count]
  float* scores;              // scratch, [query_count, kSpanTokens]
};

// Partial results of a tile, and totals.
struct SpanSums {
  float* max;       // [query_count]; the lowest finite number where a query saw nothing
  float* sum;       // [query_count]
  float* weighted;  // [query_count, PaddedDim(head_dim)], in the order the products leave them
};

// Writes `out` for all queries of the task.
void AttendSpanAvx2(const SpanTask& task, const SpanSums& out);

// total <- total and span together, for query `query`.
void FoldSpanAvx2(size_t query, size_t padded_dim, const SpanSums& span, const SpanSums& total);

// out[head_dim] = weighted / sum in the natural order.
void FinishQueryAvx2(size_t query, size_t head_dim, KvType type, const SpanSums& total, float* out);

// One query over all its tokens [begin, end): obvious and in double. keys and values give the
// address of this kv head in each block of the sequence.
struct QueryTask {
  const KvLayerView& kv;
  const AttentionRow& row;
  size_t kv_head;
  size_t begin;
  size_t end;
};
void AttendQueryReference(const QueryTask& task, const float* query, float* out);

// Token `slot` of a block: keys [head_dim][16] and values [16][head_dim] of one kv head.
using StoreToken = void (*)(KvType type, size_t head_dim, const float* k, const float* v,
                            size_t slot, std::byte* keys, std::byte* values);
void StoreTokenReference(KvType type, size_t head_dim, const float* k, const float* v, size_t slot,
                         std::byte* keys, std::byte* values);
void StoreTokenAvx2(KvType type, size_t head_dim, const float* k, const float* v, size_t slot,
                    std::byte* keys, std::byte* values);

// x[i] *= sigmoid(gate[i]) for i < count.
void SigmoidGateReference(const float* gate, size_t count, float* x);
void SigmoidGateAvx2(const float* gate, size_t count, float* x);

}  // namespace tessera::kernels
