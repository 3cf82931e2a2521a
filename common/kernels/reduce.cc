#include "common/kernels/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"
#include "common/kernels/reduce_loops.h"
#include "common/kernels/softmax.h"

namespace tessera::kernels {

Isa LocalIsa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
#endif
  return Isa::kReference;
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

void Softmax(std::span<float> values, Isa isa) {
  const bool fast = isa >= Isa::kAvx2;
  const float max = (fast ? MaxOfAvx2 : MaxOfReference)(values.data(), values.size());
  const double sum =
      (fast ? ExpInPlaceAvx2 : ExpInPlaceReference)(values.data(), values.size(), max);
  (fast ? ScaleAvx2 : ScaleReference)(values.data(), values.size(), static_cast<float>(1.0 / sum));
}

double LogSumExp(std::span<const float> values, Isa isa) {
  const bool fast = isa >= Isa::kAvx2;
  const float max = (fast ? MaxOfAvx2 : MaxOfReference)(values.data(), values.size());
  if (std::isinf(max)) return max;
  return max + std::log((fast ? SumExpAvx2 : SumExpReference)(values.data(), values.size(), max));
}

}  // namespace tessera::kernels
