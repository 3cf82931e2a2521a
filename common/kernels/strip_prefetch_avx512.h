#pragma once

// Weights asked for before they are needed, into L2. Several register tiles go over a stage of
// weights in turn, and only the first meets them new: each asks for its share of the next stage, so
// that memory works all the time, not only while the first computes. With the 32 rows that an
// expert has in a prefill: nano-slice's prefill is 1.05 (bf16) and 1.06 times (q8) as fast by that,
// medians of 10 and 7 interleaved pairs of `tessera bench --generate_tokens=0` on an Ice Lake Xeon;
// AVX2, whose arithmetic takes longer, gained nothing by it. Internal to the AVX-512 files.

#include <cstddef>

#include "common/kernels/strip_avx512.h"

namespace tessera::kernels::avx512 {
namespace {  // as strip_avx512.h

// What one register tile asks for: `block_bytes` during every block, from `next` on. A tile that is
// alone waits for memory: asked for all at once a block's lines would fill the queue to it and hold
// up the arithmetic. Spread over its steps 8 rows of bf16 were 1.27 times as fast and 2 rows 1.14
// times (kernels_bench --only="bf16 32768x1024", Ice Lake, medians of 3 and 5 pairs), and eight
// sequences decode 1.1 times as fast. One row, with little arithmetic to hold up, was 0.98 times as
// fast so, and q8 in integers, with half of the lines, the same: those ask for all at once.
struct WeightPrefetch {
  const std::byte* next;
  size_t block_bytes;
  bool spread;

  [[gnu::always_inline]] void All() const {
    for (size_t i = 0; i < block_bytes; i += kLineBytes) __builtin_prefetch(next + i, 0, 2);
  }
  // What belongs to step `step` of the kSteps of a block of kBytes: ask(offset) for each line.
  template <size_t kSteps, size_t kBytes, typename Ask>
  [[gnu::always_inline]] static void LinesOfStep(size_t step, const Ask& ask) {
    for (size_t i = 0; i < kBytes; i += kSteps * kLineBytes) {
      const size_t at = i + step * kLineBytes;
      if (kBytes % (kSteps * kLineBytes) == 0 || at < kBytes) ask(at);
    }
  }
  template <size_t kSteps, size_t kBytes>
  [[gnu::always_inline]] void Step(size_t step) const {
    LinesOfStep<kSteps, kBytes>(
        step, [this](size_t at)
                  __attribute__((always_inline)) { __builtin_prefetch(next + at, 0, 2); });
  }
  [[gnu::always_inline]] void NextBlock() { next += block_bytes; }
};

struct Panel {
  const std::byte* weights;
  size_t blocks;
  size_t block_bytes;
};

// Weights that the register tiles of a pass go over in turn.
struct Stage {
  const std::byte* weights;
  size_t first;  // of the panel's blocks
  size_t blocks;
  size_t block_bytes;
  bool fresh;  // the first pass over these weights
};

// As few as stay in L1.
[[maybe_unused]] inline size_t StageCount(const Panel& panel) {
  const size_t most = kStageBytes / panel.block_bytes;
  return (panel.blocks + most - 1) / most;
}

// Stage `i` of `stages`, which differ by a block at most.
[[maybe_unused]] inline Stage StageOf(const Panel& panel, size_t i, size_t stages, bool fresh) {
  const size_t first = i * panel.blocks / stages;
  return {.weights = panel.weights + first * panel.block_bytes,
          .first = first,
          .blocks = (i + 1) * panel.blocks / stages - first,
          .block_bytes = panel.block_bytes,
          .fresh = fresh};
}

// The rows of a register tile, among those of its pass.
struct TileRows {
  size_t first;
  size_t count;
  size_t all;
};

// A tile that holds all rows reads on at its own pace. Of a next stage that is longer than this one
// the last block is not asked for.
[[maybe_unused, gnu::always_inline]] inline WeightPrefetch PrefetchOf(const Stage& stage,
                                                                      const TileRows& rows) {
  if (!stage.fresh) return {stage.weights, 0, false};
  if (rows.count == rows.all) {
    return {stage.weights + kPrefetchAheadBytes, stage.block_bytes, /*spread=*/rows.count > 1};
  }
  const size_t lines = stage.block_bytes / kLineBytes;
  const size_t before = lines * rows.first / rows.all;
  const size_t share = lines * (rows.first + rows.count) / rows.all - before;
  const size_t offset = stage.blocks * (lines + before) * kLineBytes;
  return {stage.weights + offset, share * kLineBytes, false};
}

}  // namespace
}  // namespace tessera::kernels::avx512
