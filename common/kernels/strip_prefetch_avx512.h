#pragma once

// Weights asked for before they are needed, into L2. Several register tiles go over a stage of
// weights in turn, and only the first meets them new: each asks for its share of the next stage, so
// that memory works all the time, not while the first computes. With the 32 rows that an expert has
// in a prefill that made nano-slice's prefill 5 % faster; AVX2, whose arithmetic takes longer,
// gained nothing by it. Internal to the AVX-512 files.

#include <cstddef>

#include "common/kernels/strip_avx512.h"

namespace tessera::kernels::avx512 {
namespace {  // as strip_avx512.h

// What one register tile asks for: `step_bytes` at every block from `next` on.
struct WeightPrefetch {
  const std::byte* next;
  size_t step_bytes;

  [[gnu::always_inline]] void Step() {
    for (size_t i = 0; i < step_bytes; i += kLineBytes) __builtin_prefetch(next + i, 0, 2);
    next += step_bytes;
  }
};

// Weights that the register tiles of a pass go over in turn.
struct Stage {
  const std::byte* weights;
  size_t blocks;
  size_t block_bytes;
  bool fresh;  // the first pass over these weights
};

// For the tile that holds rows [row, row + count) of the pass's `row_count`. A tile that holds all
// reads on at its own pace.
[[maybe_unused, gnu::always_inline]] inline WeightPrefetch PrefetchOf(const Stage& stage,
                                                                      size_t row, size_t count,
                                                                      size_t row_count) {
  if (!stage.fresh) return {stage.weights, 0};
  if (count == row_count) return {stage.weights + kPrefetchAheadBytes, stage.block_bytes};
  const size_t lines = stage.block_bytes / kLineBytes;
  const size_t first = stage.blocks * (lines + lines * row / row_count);
  const size_t share = (lines * count + row_count - 1) / row_count;
  return {stage.weights + first * kLineBytes, share * kLineBytes};
}

}  // namespace
}  // namespace tessera::kernels::avx512
