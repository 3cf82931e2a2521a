#include "common/kernels/reduce_loops.h"
#include "common/kernels/top_k_row.h"
#include "common/kernels/vector_math_avx2.h"

namespace tessera::kernels {
namespace {

void Score(const GateRow& row) {
  const __m256 lowest = _mm256_set1_ps(-__FLT_MAX__);
  for (size_t i = 0; i < row.experts; i += 8) {
    const __m256i mask = LaneMask(row.experts - i);
    const __m256 score = Sigmoid(_mm256_maskload_ps(row.logits + i, mask));
    const __m256 bias =
        row.bias == nullptr ? _mm256_setzero_ps() : _mm256_maskload_ps(row.bias + i, mask);
    _mm256_storeu_ps(row.scores + i, score);
    // max(v, lowest) gives lowest where v is NaN.
    _mm256_storeu_ps(row.choices + i, _mm256_max_ps(_mm256_add_ps(score, bias), lowest));
  }
}

}  // namespace

// top_k passes of maximum and first index: for 256 experts a pass is 32 vectors, less than the
// bookkeeping of a heap.
void ChooseExpertsAvx2(const GateRow& row, size_t top_k, uint32_t* chosen) {
  Score(row);
  for (size_t count = 0; count < top_k; ++count) {
    const float max = MaxOfAvx2(row.choices, row.experts);
    const size_t id = FirstAtLeastAvx2(row.choices, 0, row.experts, max);
    row.choices[id] = -__builtin_inff();  // below the lowest finite: never again
    size_t place = count;
    for (; place > 0 && chosen[place - 1] > id; --place) chosen[place] = chosen[place - 1];
    chosen[place] = static_cast<uint32_t>(id);
  }
}

}  // namespace tessera::kernels
