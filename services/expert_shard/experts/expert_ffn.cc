#include "services/expert_shard/experts/expert_ffn.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tessera::expert_shard {
namespace {

// Rows are added by the thread that owns them: below this many additions a parallel region costs
// more.
constexpr size_t kRowsPerPiece = 16;

}  // namespace

absl::Status ExpertFfn::GroupByExpert(const ExpertTable& table, LayerIndex layer,
                                      const RoutingView& routing) {
  uint32_t expert_end = 0;
  for (uint32_t expert : routing.experts) expert_end = std::max(expert_end, expert + 1);
  group_ends_.assign(expert_end + 1, 0);
  for (uint32_t expert : routing.experts) ++group_ends_[expert + 1];
  groups_.clear();
  const size_t pairs = routing.experts.size();
  pair_rows_.resize(pairs);
  pair_weights_.resize(pairs);
  pair_of_choice_.resize(pairs);
  for (uint32_t expert = 0; expert < expert_end; ++expert) {
    const uint32_t begin = group_ends_[expert];
    const uint32_t count = group_ends_[expert + 1];
    group_ends_[expert + 1] += begin;
    if (count == 0) continue;
    const HeldExpert* held = table.Find(layer, ExpertId{expert});
    if (held == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("expert ", expert, " of layer ", ToIndex(layer), " is not held here"));
    }
    groups_.push_back({&held->network, std::span(pair_rows_).subspan(begin, count),
                       std::span(pair_weights_).subspan(begin, count)});
  }
  // group_ends_[e] is now where expert e's pairs begin; it moves on as they are filled in, row by
  // row.
  for (size_t row = 0; row < routing.rows; ++row) {
    for (size_t k = 0; k < routing.top_k; ++k) {
      const size_t choice = row * routing.top_k + k;
      const uint32_t pair = group_ends_[routing.experts[choice]]++;
      pair_rows_[pair] = static_cast<uint32_t>(row);
      pair_weights_[pair] = routing.weights[choice];
      pair_of_choice_[choice] = pair;
    }
  }
  return absl::OkStatus();
}

absl::Status ExpertFfn::Run(LayerIndex layer, const Routed& routed, MatrixView sum) {
  const RoutingView& routing = routed.routing;
  if (routing.rows == 0) return absl::OkStatus();
  const std::shared_ptr<const ExpertTable> table = store_.Snapshot();
  if (absl::Status status = GroupByExpert(*table, layer, routing); !status.ok()) return status;

  const size_t d_model = routed.rows.cols();
  pair_results_.resize(routing.experts.size() * d_model);
  const MatrixView pairs(pair_results_.data(), routing.experts.size(), d_model);
  kernels::GroupedSwiGlu(compute_, groups_, routed.rows, pairs);

  const auto add_rows = [&](size_t begin, size_t end, size_t) {
    for (size_t row = begin; row < end; ++row) {
      const std::span<float> out = sum.row(row);
      const std::span<const uint32_t> sources =
          std::span(pair_of_choice_).subspan(row * routing.top_k, routing.top_k);
      std::ranges::copy(pairs.row(sources[0]), out.begin());
      for (uint32_t source : sources.subspan(1)) {
        const float* from = pairs.row(source).data();
        for (size_t i = 0; i < d_model; ++i) out[i] += from[i];
      }
    }
  };
  if (routing.rows <= kRowsPerPiece) {
    add_rows(0, routing.rows, 0);
  } else {
    compute_.pool.ParallelFor(routing.rows, kRowsPerPiece, add_rows);
  }
  return absl::OkStatus();
}

}  // namespace tessera::expert_shard
