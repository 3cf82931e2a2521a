#include "services/router/dispatch/packer.h"

#include <algorithm>
#include <limits>

#include "common/base/check.h"

namespace tessera::router {
namespace {

constexpr uint32_t kAbsent = std::numeric_limits<uint32_t>::max();

void Empty(ShardPlan& plan) {
  plan.rows.clear();
  plan.segments.clear();
  plan.pair_rows.clear();
  plan.pair_weights.clear();
}

}  // namespace

size_t Packer::CutEnd(const ShardPlan& plan, const CallLimits& limits, size_t begin) {
  row_pairs_.assign(plan.rows.size(), 0);
  for (const uint32_t row : plan.pair_rows) ++row_pairs_[row];
  size_t pairs = 0;
  size_t end = begin;
  while (end < plan.rows.size() && end - begin < limits.rows_max) {
    pairs += row_pairs_[end];
    if (pairs > limits.pairs_max && end > begin) break;
    ++end;
  }
  return end;
}

void Packer::TakeRows(const ShardPlan& from, size_t begin, size_t end, ShardPlan& to) {
  TESSERA_CHECK(begin < end && end <= from.rows.size());
  Empty(to);
  to.shard = from.shard;
  to.rows.assign(from.rows.begin() + static_cast<ptrdiff_t>(begin),
                 from.rows.begin() + static_cast<ptrdiff_t>(end));
  size_t pair = 0;
  for (const PlanSegment& segment : from.segments) {
    PlanSegment part = segment;
    part.pair_count = 0;
    for (const size_t last = pair + segment.pair_count; pair < last; ++pair) {
      const size_t row = from.pair_rows[pair];
      if (row < begin || row >= end) continue;
      to.pair_rows.push_back(static_cast<uint32_t>(row - begin));
      to.pair_weights.push_back(from.pair_weights[pair]);
      ++part.pair_count;
    }
    if (part.pair_count > 0) to.segments.push_back(part);
  }
}

void Packer::TakeSegments(const ShardPlan& from, std::span<const uint32_t> wanted, uint32_t which,
                          ShardPlan& to) {
  Empty(to);
  to.shard = from.shard;
  row_index_.assign(from.rows.size(), kAbsent);
  size_t pair = 0;
  for (size_t s = 0; s < from.segments.size(); ++s) {
    const size_t last = pair + from.segments[s].pair_count;
    for (; pair < last; ++pair) {
      if (wanted[s] == which) row_index_[from.pair_rows[pair]] = 0;
    }
  }
  for (size_t row = 0; row < from.rows.size(); ++row) {
    if (row_index_[row] == kAbsent) continue;
    row_index_[row] = static_cast<uint32_t>(to.rows.size());
    to.rows.push_back(from.rows[row]);
  }
  pair = 0;
  for (size_t s = 0; s < from.segments.size(); ++s) {
    const size_t last = pair + from.segments[s].pair_count;
    if (wanted[s] == which) to.segments.push_back(from.segments[s]);
    for (; pair < last; ++pair) {
      if (wanted[s] != which) continue;
      to.pair_rows.push_back(row_index_[from.pair_rows[pair]]);
      to.pair_weights.push_back(from.pair_weights[pair]);
    }
  }
}

void Packer::CollectPairs(const RoutingView& routing, std::span<const ExpertId> experts,
                          ShardPlan& to) {
  Empty(to);
  to.shard = ShardId{};
  for (const ExpertId expert : experts) to.segments.push_back({expert, 0, 0, 0});
  const auto segment_of = [&](uint32_t expert) -> size_t {
    const auto it = std::lower_bound(experts.begin(), experts.end(), ExpertId{expert});
    return it != experts.end() && *it == ExpertId{expert}
               ? static_cast<size_t>(it - experts.begin())
               : experts.size();
  };
  for (size_t row = 0; row < routing.rows; ++row) {
    bool present = false;
    for (const uint32_t expert : routing.experts_of(row)) {
      const size_t segment = segment_of(expert);
      if (segment == experts.size()) continue;
      ++to.segments[segment].pair_count;
      present = true;
    }
    if (present) to.rows.push_back(static_cast<uint32_t>(row));
  }
  next_pair_.clear();
  uint32_t pairs = 0;
  for (const PlanSegment& segment : to.segments) {
    next_pair_.push_back(pairs);
    pairs += segment.pair_count;
  }
  to.pair_rows.resize(pairs);
  to.pair_weights.resize(pairs);
  for (size_t i = 0; i < to.rows.size(); ++i) {
    const auto chosen = routing.experts_of(to.rows[i]);
    for (size_t k = 0; k < chosen.size(); ++k) {
      const size_t segment = segment_of(chosen[k]);
      if (segment == experts.size()) continue;
      const uint32_t pair = next_pair_[segment]++;
      to.pair_rows[pair] = static_cast<uint32_t>(i);
      to.pair_weights[pair] = routing.weights_of(to.rows[i])[k];
    }
  }
}

}  // namespace tessera::router
