#include "common/kernels/reduce.h"

#include <algorithm>
#include <limits>

#include "common/base/check.h"
#include "common/kernels/reduce_loops.h"

namespace tessera::kernels {

Isa LocalIsa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
#endif
  return Isa::kReference;
}

float MaxOf(std::span<const float> values, Isa isa) {
  return (isa >= Isa::kAvx2 ? MaxOfAvx2 : MaxOfReference)(values.data(), values.size());
}

size_t ArgMax(std::span<const float> values, Isa isa) {
  TESSERA_CHECK(!values.empty());
  const bool fast = isa >= Isa::kAvx2;
  const auto max_of = fast ? MaxOfAvx2 : MaxOfReference;
  const auto first_at_least = fast ? FirstAtLeastAvx2 : FirstAtLeastReference;
  // Only the piece that raised the maximum is read twice, and it is still in the first cache.
  constexpr size_t kPiece = 2048;
  float best = -std::numeric_limits<float>::infinity();
  size_t best_piece = 0;
  for (size_t begin = 0; begin < values.size(); begin += kPiece) {
    const float max = max_of(values.data() + begin, std::min(kPiece, values.size() - begin));
    if (max > best) {
      best = max;
      best_piece = begin;
    }
  }
  const size_t index = first_at_least(values.data(), best_piece, values.size(), best);
  return index < values.size() ? index : 0;
}

bool AllFinite(std::span<const float> values, Isa isa) {
  return (isa >= Isa::kAvx2 ? AllFiniteAvx2 : AllFiniteReference)(values.data(), values.size());
}

}  // namespace tessera::kernels
