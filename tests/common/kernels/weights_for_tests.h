#pragma once

// Random weights and rows for the tests of the matrix products.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "common/base/check.h"
#include "common/base/random.h"
#include "common/kernels/compute.h"
#include "common/kernels/weight_layout.h"
#include "common/kernels/weight_matrix.h"
#include "common/tensor/dtype.h"
#include "common/tensor/matrix.h"

namespace tessera::kernels {

// A stored bf16 or float32 tensor and its view.
struct StoredWeights {
  std::vector<std::byte> bytes;
  TensorView view;
};

inline float RandomValue(Random& random) {
  return static_cast<float>((random.Uniform() * 2 - 1) * std::exp2(-4 * random.Uniform()));
}

inline StoredWeights RandomWeights(DType dtype, size_t rows, size_t cols, uint64_t seed) {
  StoredWeights stored;
  // One byte further than an allocation begins: a map aligns nothing.
  stored.bytes.resize(rows * cols * SizeOf(dtype) + 1);
  std::byte* data = stored.bytes.data() + 1;
  Random random(seed);
  for (size_t i = 0; i < rows * cols; ++i) {
    const float value = RandomValue(random) / std::sqrt(static_cast<float>(cols));
    const BF16 narrow = ToBF16(value);
    if (dtype == DType::kF32) std::memcpy(data + i * 4, &value, 4);
    if (dtype == DType::kBF16) std::memcpy(data + i * 2, &narrow, 2);
  }
  stored.view = {.data = data, .dtype = dtype, .rows = rows, .cols = cols};
  return stored;
}

// Rows of magnitudes that differ from row to row.
inline Matrix RandomRows(size_t rows, size_t cols, uint64_t seed) {
  Matrix matrix(rows, cols);
  Random random(seed);
  for (size_t r = 0; r < rows; ++r) {
    const float size = std::exp2(static_cast<float>(random.Below(8)) - 4);
    for (float& value : matrix.row(r)) value = size * RandomValue(random);
  }
  return matrix;
}

inline WeightMatrix PackOrDie(const TensorView& view, WeightType type) {
  absl::StatusOr<WeightMatrix> matrix = WeightMatrix::Pack(view, type);
  TESSERA_CHECK(matrix.ok());
  return *std::move(matrix);
}

inline WeightMatrix PackGateUpOrDie(const TensorView& gate, const TensorView& up, WeightType type) {
  absl::StatusOr<WeightMatrix> matrix = WeightMatrix::PackGateUp(gate, up, type);
  TESSERA_CHECK(matrix.ok());
  return *std::move(matrix);
}

inline WeightMatrix BorrowOrDie(const TensorView& view) {
  absl::StatusOr<WeightMatrix> matrix = WeightMatrix::Borrow(view);
  TESSERA_CHECK(matrix.ok());
  return *std::move(matrix);
}

// How far sum(w x) of a level may lie from the exact sum, w being the exactly widened weights of
// one output, and u = 2^-24:
//   a chain of K fused multiply-adds: K u sum|w x|, and u each for the test's and the result's own
//   rounding and for scales;
//   bf16 rows (levels above AVX2, fast, weights not quantised): 2^-9 sum|w x| on top;
//   integer rows, one step s = absmax / 32767 (above AVX2: absmax / 127) a row: each number is off
//   by half a step, and by 0.01 of one since the inverse of s is rounded; that times sum|w|.
inline double ProductTolerance(Isa isa, Arithmetic arithmetic, const WeightMatrix& weights,
                               std::span<const float> w, std::span<const float> x) {
  double sum_w = 0;
  double sum_wx = 0;
  double absmax = 0;
  for (size_t k = 0; k < x.size(); ++k) {
    sum_w += std::fabs(w[k]);
    sum_wx += std::fabs(static_cast<double>(w[k]) * x[k]);
    absmax = std::max<double>(absmax, std::fabs(x[k]));
  }
  const double u = 0x1p-24;
  const double chain = (static_cast<double>(x.size()) + 6) * u * sum_wx;
  if (arithmetic == Arithmetic::kFloat32 || weights.layout() == WeightLayout::kRows) return chain;
  const bool above_avx2 = isa == Isa::kAvx512 || isa == Isa::kAmx;
  if (!IsQuantised(weights.type())) return chain + (above_avx2 ? 0x1p-9 * sum_wx : 0);
  const double step = absmax / (above_avx2 ? 127 : 32767);
  return 0.51 * step * sum_w + chain + 6 * u * sum_w * step;
}

}  // namespace tessera::kernels
