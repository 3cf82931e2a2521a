#include "common/kernels/top_k.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/base/check.h"
#include "common/kernels/parallel_rows.h"
#include "common/kernels/reduce_loops.h"
#include "common/kernels/top_k_row.h"

namespace tessera::kernels {
namespace {

// Per expert a sigmoid and top_k looks: worth several elements of a plain loop.
constexpr size_t kElementsPerExpert = 4;

void WeighChosen(const GateRow& row, const GateOptions& options, const uint32_t* chosen,
                 float* weights) {
  float sum = 0;
  for (size_t i = 0; i < options.top_k; ++i) sum += row.scores[chosen[i]];
  const float divisor = options.normalize ? sum + 1e-20f : 1.0f;
  for (size_t i = 0; i < options.top_k; ++i) {
    weights[i] = row.scores[chosen[i]] / divisor * options.scale;
  }
}

// The front of the heap is the worst of those kept: the smallest, among equals the latest.
struct Kept {
  float value;
  uint32_t index;
  bool operator<(const Kept& other) const {
    return value > other.value || (value == other.value && index < other.index);
  }
};

// Sorts all: for a k that is a good part of the whole.
std::vector<uint32_t> TopKBySorting(std::span<const float> values, size_t k) {
  std::vector<uint32_t> indices;
  indices.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isnan(values[i])) indices.push_back(static_cast<uint32_t>(i));
  }
  k = std::min(k, indices.size());
  std::partial_sort(indices.begin(), indices.begin() + static_cast<std::ptrdiff_t>(k),
                    indices.end(), [&](uint32_t a, uint32_t b) {
                      return values[a] > values[b] || (values[a] == values[b] && a < b);
                    });
  indices.resize(k);
  return indices;
}

}  // namespace

void SelectExperts(const Compute& compute, ConstMatrixView logits, std::span<const float> bias,
                   const GateOptions& options, std::span<uint32_t> experts,
                   std::span<float> weights) {
  const size_t expert_count = logits.cols();
  TESSERA_CHECK(options.top_k <= expert_count && (bias.empty() || bias.size() == expert_count));
  TESSERA_CHECK(experts.size() == logits.rows() * options.top_k &&
                weights.size() == experts.size());
  const auto choose = compute.isa >= Isa::kAvx2 ? ChooseExpertsAvx2 : ChooseExpertsReference;
  const size_t padded = (expert_count + 7) / 8 * 8;
  ForRows(compute, logits.rows(), expert_count * kElementsPerExpert, [&](size_t begin, size_t end) {
    std::vector<float> scratch(2 * padded);
    for (size_t i = begin; i < end; ++i) {
      const GateRow row = {.logits = logits.row(i).data(),
                           .bias = bias.empty() ? nullptr : bias.data(),
                           .experts = expert_count,
                           .scores = scratch.data(),
                           .choices = scratch.data() + padded};
      uint32_t* const chosen = experts.data() + i * options.top_k;
      choose(row, options.top_k, chosen);
      WeighChosen(row, options, chosen, weights.data() + i * options.top_k);
    }
  });
}

std::vector<uint32_t> TopK(std::span<const float> values, size_t k, Isa isa) {
  if (k == 0 || values.empty()) return {};
  if (k > values.size() / 16) return TopKBySorting(values, k);
  const auto first_above = isa >= Isa::kAvx2 ? FirstAboveAvx2 : FirstAboveReference;
  std::vector<Kept> heap;
  heap.reserve(k);
  size_t i = 0;
  for (; i < values.size() && heap.size() < k; ++i) {
    if (!std::isnan(values[i])) heap.push_back({values[i], static_cast<uint32_t>(i)});
  }
  std::make_heap(heap.begin(), heap.end());
  // A later value must be larger than the worst kept: among equals the earlier stays.
  while (heap.size() == k &&
         (i = first_above(values.data(), i, values.size(), heap.front().value)) < values.size()) {
    std::pop_heap(heap.begin(), heap.end());
    heap.back() = {values[i], static_cast<uint32_t>(i)};
    std::push_heap(heap.begin(), heap.end());
    ++i;
  }
  std::sort_heap(heap.begin(), heap.end());
  std::vector<uint32_t> indices;
  indices.reserve(heap.size());
  for (const Kept& kept : heap) indices.push_back(kept.index);
  return indices;
}

}  // namespace tessera::kernels
