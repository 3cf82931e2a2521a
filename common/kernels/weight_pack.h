#pragma once

// Packing of one panel: inside of WeightMatrix, apart so that each way of doing it has its file.

#include <array>
#include <cstddef>

#include "common/kernels/weight_layout.h"

namespace tessera::kernels {

// 32 source rows of `inputs` numbers each, all of one format; a row need not be aligned. Rows that
// pad the panel point to zeros.
struct PanelSource {
  std::array<const std::byte*, kPanelOutputs> rows;
  size_t inputs = 0;
  bool is_bf16 = false;  // else float32
};

// Writes the panel's PanelBytes(type, inputs) bytes to `panel` (64-byte aligned). False if a
// packed number is not finite (NaN, infinity, or beyond the range of `type`); `panel` is then
// unspecified. Both ways give the same bytes.
//   f32, bf16  rounded to nearest even
//   q8   scale = F16(absmax / 127), at most 65504; value = nearest even of w * (1 / scale), +-127
//   q4   m = the number of largest magnitude (the positive one of two equal), scale = F16(m / -8);
//        nibble = nearest even of w * (1 / scale) + 8, within 0..15: m itself is nibble 0
//   A scale below the smallest F16 gives scale 0 and all values 0.
bool PackPanelReference(const PanelSource& source, WeightType type, std::byte* panel);
bool PackPanelAvx2(const PanelSource& source, WeightType type, std::byte* panel);

}  // namespace tessera::kernels
