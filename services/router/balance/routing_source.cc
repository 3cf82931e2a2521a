#include "services/router/balance/routing_source.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/base/check.h"

namespace tessera::router {

ZipfRouting::ZipfRouting(const PlacementShape& shape, size_t top_k, double exponent, uint64_t seed)
    : shape_(shape), top_k_(top_k), random_(seed) {
  TESSERA_CHECK(top_k >= 1 && top_k <= shape.expert_count);
  double sum = 0;
  for (size_t rank = 1; rank <= shape.expert_count; ++rank) {
    sum += std::pow(static_cast<double>(rank), -exponent);
    cumulative_.push_back(sum);
  }
  Shuffle(seed);
}

void ZipfRouting::Shuffle(uint64_t seed) {
  Random random(MixBits(seed));
  order_.resize(shape_.layer_count * shape_.expert_count);
  for (size_t layer = 0; layer < shape_.layer_count; ++layer) {
    const auto first = order_.begin() + static_cast<ptrdiff_t>(layer * shape_.expert_count);
    std::iota(first, first + static_cast<ptrdiff_t>(shape_.expert_count), 0u);
    for (size_t i = shape_.expert_count; i > 1; --i) {
      std::swap(first[static_cast<ptrdiff_t>(i - 1)],
                first[static_cast<ptrdiff_t>(random.Below(i))]);
    }
  }
}

RoutingView ZipfRouting::Next(LayerIndex layer, size_t rows) {
  experts_.resize(rows * top_k_);
  weights_.assign(rows * top_k_, 1.0f / static_cast<float>(top_k_));
  const uint32_t* order = order_.data() + ToIndex(layer) * shape_.expert_count;
  for (size_t row = 0; row < rows; ++row) {
    const auto first = experts_.begin() + static_cast<ptrdiff_t>(row * top_k_);
    for (size_t k = 0; k < top_k_;) {
      const double point = random_.Uniform() * cumulative_.back();
      const auto rank = std::upper_bound(cumulative_.begin(), cumulative_.end(), point);
      const auto index = std::min<size_t>(static_cast<size_t>(rank - cumulative_.begin()),
                                          shape_.expert_count - 1);
      const uint32_t expert = order[index];
      const auto end = first + static_cast<ptrdiff_t>(k);
      if (std::find(first, end, expert) != end) continue;
      *end = expert;
      ++k;
    }
    std::sort(first, first + static_cast<ptrdiff_t>(top_k_));
  }
  return {rows, top_k_, experts_, weights_};
}

TraceRouting::TraceRouting(const RoutingTrace& trace)
    : trace_(trace), of_layer_(trace.shape.layer_count), next_(trace.shape.layer_count) {
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    of_layer_[ToIndex(trace.steps[i].layer)].push_back(i);
  }
}

RoutingView TraceRouting::Next(LayerIndex layer, size_t) {
  const std::vector<size_t>& steps = of_layer_[ToIndex(layer)];
  TESSERA_CHECK(!steps.empty());
  const RoutedStep& step = trace_.steps[steps[next_[ToIndex(layer)]++ % steps.size()]];
  experts_ = step.experts;
  weights_.assign(experts_.size(), 1.0f / static_cast<float>(trace_.top_k));
  return {step.rows, trace_.top_k, experts_, weights_};
}

}  // namespace tessera::router
