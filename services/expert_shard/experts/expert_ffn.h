#pragma once

// One expert call computed: rows and their routing in, unsummed or summed rows out.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/kernels/swiglu.h"
#include "common/moe/routing.h"
#include "services/expert_shard/experts/expert_store.h"

namespace tessera::expert_shard {

//  routing [rows, top_k] --group by expert--> pairs, expert-major --GroupedSwiGlu--> pair rows
//  --sum--> [rows, d_model]
//
// Owned by the compute thread: keeps its scratch between calls.
class ExpertFfn {
 public:
  // Both are borrowed.
  ExpertFfn(const ExpertStore& store, const kernels::Compute& compute)
      : store_(store), compute_(compute) {}

  // sum.row(r) = sum over the row's experts, in ascending expert id, of weight * expert(row).
  // The order of additions depends on the row alone. `sum` is [rows, d_model].
  // kFailedPrecondition if the store does not hold an expert that is asked for; `sum` is then
  // unchanged.
  absl::Status Run(LayerIndex layer, const Routed& routed, MatrixView sum);

 private:
  absl::Status GroupByExpert(const ExpertTable& table, LayerIndex layer,
                             const RoutingView& routing);

  const ExpertStore& store_;
  const kernels::Compute& compute_;

  // Of the call under way.
  std::vector<uint32_t> group_ends_;      // [experts + 1] prefix sums of pairs
  std::vector<uint32_t> pair_rows_;       // [pairs], expert-major
  std::vector<float> pair_weights_;       // [pairs]
  std::vector<uint32_t> pair_of_choice_;  // [rows, top_k]: where the result of a choice lies
  std::vector<kernels::ExpertGroup> groups_;
  std::vector<float> pair_results_;  // [pairs, d_model]
};

}  // namespace tessera::expert_shard
