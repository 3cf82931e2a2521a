#pragma once

// Takes plans apart. Whatever is cut, moved or sent again, each (row, expert) pair of the step is
// in exactly one part, and the order inside a part is that of wire::WriteCall: rows ascending,
// segments by expert, pairs by row.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/moe/dispatch_plan.h"
#include "common/moe/routing.h"

namespace tessera::router {

// Tables that are kept between uses. Thread-compatible.
class Packer {
 public:
  struct CallLimits {
    size_t rows_max = 0;   // > 0
    size_t pairs_max = 0;  // at least the pairs of one row
  };

  // One call is enough.
  static bool Fits(const ShardPlan& plan, const CallLimits& limits) {
    return plan.rows.size() <= limits.rows_max && plan.pair_rows.size() <= limits.pairs_max;
  }
  // The first row of `plan` that a call beginning at row `begin` (index into plan.rows) no longer
  // has room for; plan.rows.size() if it holds the rest.
  size_t CutEnd(const ShardPlan& plan, const CallLimits& limits, size_t begin);
  // The pairs of rows [begin, end) (indices into from.rows). Requires begin < end.
  void TakeRows(const ShardPlan& from, size_t begin, size_t end, ShardPlan& to);
  // The pairs of the segments for which wanted[segment] == which. There is at least one.
  void TakeSegments(const ShardPlan& from, std::span<const uint32_t> wanted, uint32_t which,
                    ShardPlan& to);
  // All pairs of `routing` whose expert is among `experts` (ascending). Shard, slots and versions
  // are left zero.
  void CollectPairs(const RoutingView& routing, std::span<const ExpertId> experts, ShardPlan& to);

 private:
  std::vector<uint32_t> row_index_;  // [rows of the source] new index of a row
  std::vector<uint32_t> row_pairs_;  // [rows of the source]
  std::vector<uint32_t> next_pair_;  // [segments]
};

}  // namespace tessera::router
