#pragma once

// Random weights and rows for the tests of the matrix products.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/random.h"
#include "common/kernels/compute.h"
#include "common/kernels/weight_layout.h"
#include "common/kernels/weight_matrix.h"
#include "common/tensor/dtype.h"
#include "common/tensor/matrix.h"
#include "tests/common/kernels/tested_cpu.h"

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

// One way of computing that a CPU may have: a level, and for kAvx512 whether it has BF16 and VNNI.
struct Level {
  Isa isa = Isa::kAvx2;
  bool bf16 = false;
  bool vnni = false;

  CpuFeatures Features() const {
    const bool amx = isa == Isa::kAmx;
    return {.avx2 = isa != Isa::kReference,
            .avx512 = isa >= Isa::kAvx512,
            .avx512_bf16 = bf16 || amx,
            .avx512_vnni = vnni || amx,
            .amx = amx};
  }
  bool Present() const {
    const CpuFeatures cpu = TestedCpu();
    const CpuFeatures wanted = Features();
    return wanted.avx2 <= cpu.avx2 && wanted.avx512 <= cpu.avx512 &&
           wanted.avx512_bf16 <= cpu.avx512_bf16 && wanted.avx512_vnni <= cpu.avx512_vnni &&
           wanted.amx <= cpu.amx;
  }
  std::string Name() const {
    std::string name = NameOf(isa, Features());
    std::replace(name.begin(), name.end(), '+', '_');
    return name;
  }
};
inline const std::vector<Level> kLevels = {{Isa::kAvx2},
                                           {Isa::kAvx512},
                                           {.isa = Isa::kAvx512, .bf16 = true},
                                           {.isa = Isa::kAvx512, .vnni = true},
                                           {.isa = Isa::kAvx512, .bf16 = true, .vnni = true},
                                           {Isa::kAmx}};

// How far sum(w x) of a level may lie from the exact sum, w being the exactly widened weights of
// one output, and u = 2^-24:
//   a chain of K fused multiply-adds: K u sum|w x|, and u each for the test's and the result's own
//   rounding and for scales;
//   bf16 rows (fast, bf16 weights, with BF16): 2^-8 sum|w x| on top, and 2^-126 for each input,
//   product and sum that may be flushed;
//   integer rows, one step s = absmax / 32767 a row (with VNNI: absmax / 127 a block of 32): each
//   number is off by half a step, and by 0.01 of one since the inverse of s is rounded; that times
//   sum|w| (of the block);
//   weights made bf16 too (kAmx, fast, quantised, not batch_invariant): 2^-7 sum|w x|, and the
//   product of both errors.
inline double ProductTolerance(const Level& level, Arithmetic arithmetic,
                               const WeightMatrix& weights, std::span<const float> w,
                               std::span<const float> x, bool batch_invariant = true) {
  const bool int8 = level.Features().avx512_vnni;
  const size_t step_inputs = int8 ? kBlockInputs : x.size();
  double sum_wx = 0;
  double sum_steps = 0;  // of steps times sum|w|
  double sum_flushed = 0;
  for (size_t first = 0; first < x.size(); first += step_inputs) {
    double sum_w = 0;
    double absmax = 0;
    for (size_t k = first; k < std::min(x.size(), first + step_inputs); ++k) {
      sum_w += std::fabs(w[k]);
      sum_wx += std::fabs(static_cast<double>(w[k]) * x[k]);
      sum_flushed += 0x1p-126 * (2 + std::fabs(w[k]) + std::fabs(x[k]));
      absmax = std::max<double>(absmax, std::fabs(x[k]));
    }
    sum_steps += sum_w * absmax / (int8 ? 127 : 32767);
  }
  const double u = 0x1p-24;
  const double chain = (static_cast<double>(x.size()) + 6) * u * sum_wx;
  if (arithmetic == Arithmetic::kFloat32) return chain;
  if (!IsQuantised(weights.type())) {
    const bool rounded = level.Features().avx512_bf16 && weights.type() == WeightType::kBF16;
    return chain + (rounded ? 0x1p-8 * sum_wx + sum_flushed : 0);
  }
  const double integers = 0.51 * sum_steps + chain + 6 * u * sum_steps;
  const bool narrow = level.isa == Isa::kAmx && !batch_invariant;
  return narrow ? std::max(integers, 0x1.01p-7 * sum_wx + chain + sum_flushed) : integers;
}

}  // namespace tessera::kernels
