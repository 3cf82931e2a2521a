#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "common/kernels/scalar_math.h"
#include "common/kernels/top_k_row.h"

namespace tessera::kernels {

void ChooseExpertsReference(const GateRow& row, size_t top_k, uint32_t* chosen) {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  for (size_t i = 0; i < row.experts; ++i) {
    row.scores[i] = Sigmoid(row.logits[i]);
    const float biased = row.scores[i] + (row.bias == nullptr ? 0.0f : row.bias[i]);
    row.choices[i] = biased > kLowest ? biased : kLowest;
  }
  std::vector<uint32_t> ids(row.experts);
  std::iota(ids.begin(), ids.end(), 0u);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](uint32_t a, uint32_t b) { return row.choices[a] > row.choices[b]; });
  std::copy_n(ids.begin(), top_k, chosen);
  std::sort(chosen, chosen + top_k);
}

}  // namespace tessera::kernels
