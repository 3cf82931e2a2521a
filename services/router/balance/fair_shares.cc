#include "services/router/balance/fair_shares.h"

#include <algorithm>
#include <cmath>

namespace tessera::router {
namespace {

constexpr float kKept = 0.998f;      // of a step after the next: 500 steps are remembered
constexpr float kRowsPerAhead = 16;  // so much ahead counts as a row
constexpr float kAheadMax = 4;       // rows
constexpr uint32_t kLearnSteps = 256;
constexpr double kExpertRowsMax = 64;

}  // namespace

std::vector<float>& FairShares::GivenOf(LayerIndex layer, size_t shards) {
  if (ToIndex(layer) >= given_.size()) given_.resize(ToIndex(layer) + 1);
  std::vector<float>& given = given_[ToIndex(layer)];
  if (shards > given.size()) given.resize(shards);
  return given;
}

ReplicaChoice FairShares::Choice(LayerIndex layer, std::span<const uint32_t> outstanding_rows,
                                 uint64_t seed) {
  std::vector<float>& given = GivenOf(layer, outstanding_rows.size());
  given.resize(outstanding_rows.size());
  ahead_.assign(given.size(), 0);
  float least = -1;
  for (size_t s = 0; s < given.size(); ++s) {
    given[s] *= kKept;
    if (outstanding_rows[s] == kShardUnusable) continue;
    if (least < 0 || given[s] < least) least = given[s];
  }
  for (size_t s = 0; s < given.size(); ++s) {
    if (outstanding_rows[s] == kShardUnusable) continue;
    // What cannot be made up for soon is forgotten: experts that have moved leave no debts.
    given[s] = std::min(given[s], least + kAheadMax * kRowsPerAhead);
    ahead_[s] = static_cast<uint32_t>((given[s] - least) / kRowsPerAhead + 0.5f);
  }
  return {.outstanding_rows = outstanding_rows,
          .seed = seed,
          .ahead_rows = ahead_,
          .expert_rows = expert_rows_};
}

void FairShares::Note(const AnsweredCall& call) {
  // Perhaps of a shard, or all of them, that came while the step was at work.
  const size_t shard = ToIndex(call.shard);
  GivenOf(call.layer, shard + 1)[shard] +=
      static_cast<float>(call.experts * expert_rows_ + call.pairs);
}

void FairShares::Learn(const CostFit& fit) {
  if (++steps_ % kLearnSteps == 0) SetCosts(fit.Fit());
}

void FairShares::SetCosts(const CostModel& costs) {
  const double rows = costs.touch_us / std::max(costs.row_us, 1e-9);
  expert_rows_ = static_cast<uint32_t>(std::lround(std::clamp(rows, 0.0, kExpertRowsMax)));
}

}  // namespace tessera::router
