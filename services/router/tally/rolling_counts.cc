#include "services/router/tally/rolling_counts.h"

namespace tessera::router {

void RollingCounts::Begin(int64_t second) {
  if (rows_[current_].second.load(std::memory_order_relaxed) == second) return;
  current_ = static_cast<size_t>(second % static_cast<int64_t>(kRows));
  Row& row = rows_[current_];
  for (std::atomic<uint32_t>& count : row.counts) count.store(0, std::memory_order_relaxed);
  // Readers that see the second see the zeros.
  row.second.store(second, std::memory_order_release);
}

std::vector<uint64_t> RollingCounts::Window(int64_t now) const {
  std::vector<uint64_t> sums(size());
  for (const Row& row : rows_) {
    const int64_t second = row.second.load(std::memory_order_acquire);
    if (second > now || second <= now - kWindowSeconds) continue;
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] += row.counts[i].load(std::memory_order_relaxed);
    }
  }
  return sums;
}

std::vector<uint64_t> RollingCounts::Totals() const {
  std::vector<uint64_t> totals(size());
  for (size_t i = 0; i < totals.size(); ++i) {
    totals[i] = totals_[i].load(std::memory_order_relaxed);
  }
  return totals;
}

}  // namespace tessera::router
