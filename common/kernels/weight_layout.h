#pragma once

// The bytes of a packed weight matrix (WeightLayout::kPanels). The same bytes serve AVX2, AVX-512
// and AMX: a 64-byte line is an operand of vdpbf16ps or vpdpbusd, a tile's lines are an AMX B tile.
//
//   matrix  = panels, one after the other; panel p holds outputs [32 p, 32 p + 32)
//             (of a gate_up: gate rows [16 p, 16 p + 16) as tile 0, the same up rows as tile 1)
//   panel   = blocks of 32 inputs, k ascending; contiguous over the whole K
//   block   = [scales: 32 x F16 = 64 B, q8 and q4 only, scale i belongs to output i of the panel]
//             [lines of tile 0: outputs 0..15 of the panel][lines of tile 1: outputs 16..31]
//   line j  = 64 B; within the block:
//       f32    32 lines a tile: 16 outputs x (k = j)                       float32
//       bf16   16 lines a tile: 16 outputs x (k = 2j, 2j+1)                bf16 pairs
//       q8      8 lines a tile: 16 outputs x (k = 4j .. 4j+3)              int8 quadruples
//       q4      4 lines a tile: byte b of line j holds in its low nibble what byte b of q8's line j
//               would hold, in its high nibble that of q8's line j + 4; each as value + 8, 0..15
//
// Outputs are padded to 32 and inputs to 32: padded weights are 0 (in q4 nibble 8, scale 0 for a
// padded output). A panel starts on a 64-byte border.

#include <cstddef>
#include <cstdint>

#include "common/kernels/weight_matrix.h"

namespace tessera::kernels {

inline constexpr size_t kPanelOutputs = 32;
inline constexpr size_t kTileOutputs = 16;
inline constexpr size_t kBlockInputs = 32;
inline constexpr size_t kLineBytes = 64;
inline constexpr size_t kScaleBytes = 64;  // 32 F16 at the head of a q8 or q4 block

constexpr bool IsQuantised(WeightType type) {
  return type == WeightType::kQ8 || type == WeightType::kQ4;
}

// Lines of one tile in one block.
constexpr size_t TileLines(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return 32;
    case WeightType::kBF16:
      return 16;
    case WeightType::kQ8:
      return 8;
    case WeightType::kQ4:
      return 4;
  }
  return 0;
}

// f32 4096, bf16 2048, q8 1088, q4 576.
constexpr size_t BlockBytes(WeightType type) {
  return (IsQuantised(type) ? kScaleBytes : 0) + 2 * TileLines(type) * kLineBytes;
}

// Where tile 0 or 1 begins within a block.
constexpr size_t TileOffset(WeightType type, size_t tile) {
  return (IsQuantised(type) ? kScaleBytes : 0) + tile * TileLines(type) * kLineBytes;
}

constexpr size_t PanelCount(size_t outputs) {
  return (outputs + kPanelOutputs - 1) / kPanelOutputs;
}
constexpr size_t BlockCount(size_t inputs) { return (inputs + kBlockInputs - 1) / kBlockInputs; }
constexpr size_t PanelBytes(WeightType type, size_t inputs) {
  return BlockCount(inputs) * BlockBytes(type);
}

}  // namespace tessera::kernels
