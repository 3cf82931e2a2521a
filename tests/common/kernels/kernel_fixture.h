#pragma once

// What the tests of the kernels share: random matrices, thread pools, the level to be tested.

#include <cstring>
#include <span>
#include <vector>

#include "common/base/random.h"
#include "common/kernels/compute.h"
#include "common/kernels/reduce.h"
#include "common/tensor/matrix.h"

namespace tessera::kernels {

inline Matrix RandomMatrix(size_t rows, size_t cols, uint64_t seed, double scale = 1.0) {
  Random random(seed);
  Matrix matrix(rows, cols);
  for (float& v : matrix.values()) v = static_cast<float>((random.Uniform() * 2 - 1) * scale);
  return matrix;
}

inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// A pool of `threads` and what runs on it, at `isa`.
struct Machine {
  explicit Machine(Isa isa, size_t threads = 1)
      : pool({.thread_count = threads}),
        compute{.pool = pool, .features = {}, .isa = isa, .scratch = &scratch} {}
  ThreadPool pool;
  Scratch scratch;
  Compute compute;
};

}  // namespace tessera::kernels

// The tests of fast code need a CPU that has it.
#define TESSERA_NEEDS_AVX2()                                           \
  if (::tessera::kernels::LocalIsa() < ::tessera::kernels::Isa::kAvx2) \
  GTEST_SKIP() << "this CPU has no AVX2: the fast kernels are NOT tested"
