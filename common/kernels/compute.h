#pragma once

// With what the kernels compute: instruction set, arithmetic, threads. Passed to every operation.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/concurrency/thread_pool.h"
#include "common/device/cpu_features.h"
#include "common/kernels/scratch.h"

namespace tessera::kernels {

// Levels a box may have, in ascending order; each includes those before it.
enum class Isa {
  kReference,  // plain C++: the oracle of the tests
  kAvx2,       // AVX2 + FMA + F16C
  kAvx512,     // F, BW, VL, DQ; uses VNNI and BF16 where the CPU has them
  kAmx,        // tiles for bf16 and int8
};

enum class Arithmetic {
  kFloat32,  // float32 products and sums on weights widened exactly (quantised ones: scale *
             // integer)
  kFast,     // whatever is fastest on this level: bf16 or integer activations with float32 sums
};

std::string_view NameOf(Isa isa);  // "reference", "avx2", "avx512", "amx"
// The same with what kAvx512 uses of `features`: "avx512", "avx512+bf16", "avx512+vnni",
// "avx512+bf16+vnni". Says which matrix products run; attention, norms and the like have one fast
// way, AVX2, on every level.
std::string NameOf(Isa isa, const CpuFeatures& features);
// "auto" gives the best of `features`. kInvalidArgument for an unknown name, kFailedPrecondition
// for a level this CPU lacks (what it has is named); without AVX2 also for "auto".
absl::StatusOr<Isa> ChooseIsa(std::string_view name, const CpuFeatures& features);

// Thread-compatible; `pool` and `scratch` are borrowed, and used by one call at a time.
struct Compute {
  ThreadPool& pool;
  CpuFeatures features;
  Isa isa = Isa::kReference;
  Arithmetic arithmetic = Arithmetic::kFloat32;
  // A row's bits do not depend on which rows share its call. Without it kFast on kAmx may compute
  // many rows with quantised weights in another way than few: up to 40 % faster at 32 rows.
  bool batch_invariant = true;
  Scratch* scratch = nullptr;  // what a server passes; null: each call allocates its own
};

}  // namespace tessera::kernels
