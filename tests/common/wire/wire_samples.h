#pragma once

// Frames for the tests of this folder.

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "common/base/random.h"
#include "common/moe/dispatch_plan.h"
#include "common/tensor/matrix.h"
#include "common/wire/call_wire.h"
#include "common/wire/expert_wire.h"

namespace tessera::wire {

// Memory of a frame, aligned as a frame must be.
class FrameMemory {
 public:
  explicit FrameMemory(size_t bytes) : words_((bytes + 7) / 8), bytes_(bytes) {}
  explicit FrameMemory(std::span<const std::byte> frame) : FrameMemory(frame.size()) {
    for (size_t i = 0; i < frame.size(); ++i) span()[i] = frame[i];
  }
  std::span<std::byte> span() { return {reinterpret_cast<std::byte*>(words_.data()), bytes_}; }

 private:
  std::vector<uint64_t> words_;
  size_t bytes_;
};

inline FrameGeometry SampleGeometry() {
  return {.d_model = 20,
          .layer_count = 6,
          .expert_count = 16,
          .rows_max = 32,
          .pairs_max = 128,
          .dtype_up = RowDType::kBF16,
          .dtype_down = RowDType::kF32,
          .strict = false};
}

// One shard's part of a random step of at most `rows` rows.
inline ShardPlan SamplePlan(Random& random, size_t rows, const FrameGeometry& geometry) {
  ShardPlan plan;
  for (uint32_t r = 0; r < rows; ++r) plan.rows.push_back(2 * r + 1);
  for (uint32_t e = 0; e < geometry.expert_count; ++e) {
    if (random.Below(3) != 0 && e + 1 < geometry.expert_count) continue;
    uint32_t pairs = 0;
    for (uint16_t r = 0; r < rows; ++r) {
      if (random.Below(2) != 0 && !(r + 1u == rows && pairs == 0)) continue;
      if (plan.pair_rows.size() == geometry.pairs_max) break;
      plan.pair_rows.push_back(r);
      plan.pair_weights.push_back(static_cast<float>(random.Uniform()));
      ++pairs;
    }
    if (pairs > 0) {
      plan.segments.push_back(
          {ExpertId{e}, static_cast<uint32_t>(random.Below(1000)), random.Bits(), pairs});
    }
  }
  return plan;
}

inline Matrix SampleRows(Random& random, size_t rows, size_t cols) {
  Matrix m(rows, cols);
  for (float& v : m.values()) v = static_cast<float>(random.Uniform() * 4 - 2);
  return m;
}

// A sealed CALL of `rows` rows.
inline FrameMemory SampleCall(Random& random, size_t rows, const FrameGeometry& geometry,
                              bool checksum = true) {
  const Matrix hidden = SampleRows(random, 2 * rows, geometry.d_model);
  FrameMemory memory(CallBytesMax(geometry));
  FrameHeader header = *WriteCall(geometry, {.layer = LayerIndex{2}, .epoch = Epoch{5}},
                                  SamplePlan(random, rows, geometry), hidden.view(), memory.span());
  header.session = 9;
  header.call_id = random.Bits();
  return FrameMemory(SealFrame(header, checksum, memory.span()));
}

}  // namespace tessera::wire
