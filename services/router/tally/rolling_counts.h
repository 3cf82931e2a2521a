#pragma once

// A row of counters that know the last seconds as well as the total.
//
//   Begin(second) ─► Add(index, by) ...        one thread
//   Window(second), Totals()                   any thread, meanwhile
//
// Each second has a row of its own in a ring. The ring is two seconds longer than the window, so
// that a reader never sums a row that is begun anew.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::router {

// Begin and Add belong to one thread; no call locks or waits.
class RollingCounts {
 public:
  static constexpr int64_t kWindowSeconds = 10;

  explicit RollingCounts(size_t size) : totals_(size) {
    for (Row& row : rows_) row.counts = std::vector<std::atomic<uint32_t>>(size);
  }

  size_t size() const { return totals_.size(); }
  // Adds belong to this second from here on; seconds never go back.
  void Begin(int64_t second);
  void Add(size_t index, uint32_t by) {
    // One writer: no need for the price of fetch_add.
    std::atomic<uint32_t>& recent = rows_[current_].counts[index];
    recent.store(recent.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    std::atomic<uint64_t>& total = totals_[index];
    total.store(total.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }

  // [size]: what was added in the second `now` and the nine before it.
  std::vector<uint64_t> Window(int64_t now) const;
  // [size]: since the start.
  std::vector<uint64_t> Totals() const;

 private:
  static constexpr int64_t kNever = INT64_MIN;
  static constexpr size_t kRows = kWindowSeconds + 2;
  struct Row {
    std::atomic<int64_t> second{kNever};
    std::vector<std::atomic<uint32_t>> counts;
  };

  std::array<Row, kRows> rows_;
  size_t current_ = 0;  // the writer's
  std::vector<std::atomic<uint64_t>> totals_;
};

}  // namespace tessera::router
