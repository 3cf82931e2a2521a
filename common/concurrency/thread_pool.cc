#include "common/concurrency/thread_pool.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/concurrency/thread.h"

namespace tessera {
namespace {

using Body = absl::FunctionRef<void(size_t, size_t, size_t)>;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Sleeps while `word` holds `value`; returns at a wake-up, at a change, or for no reason.
void FutexWait(std::atomic<uint32_t>& word, uint32_t value) {
  static_assert(sizeof(word) == sizeof(uint32_t));
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void FutexWake(std::atomic<uint32_t>& word, size_t threads) {
  const size_t most = static_cast<size_t>(std::numeric_limits<int>::max());
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, static_cast<int>(std::min(threads, most)), nullptr,
          nullptr, 0);
}

}  // namespace

// One region:
//   caller   writes the region, opens it (epoch becomes odd), claims pieces, closes it (even),
//   waits
//            for active == 0
//   worker   sees an odd epoch, enters (++active), looks again, claims pieces, leaves (--active)
// A late worker either enters before the region closes, and then the caller waits for it, or finds
// it closed and leaves untouched: entering and closing are each a write followed by a read of the
// other's word, all sequentially consistent, so at least one sees the other. Hence nobody waits for
// a worker that still sleeps when the last piece is done.
struct ThreadPool::State {
  explicit State(const ThreadPoolConfig& config)
      : thread_count(config.thread_count != 0 ? config.thread_count : UsableCpuCount()),
        spin_rounds(config.spin_rounds) {}

  void Work(size_t worker);
  void ClaimPieces(size_t worker);
  uint32_t AwaitEpochOtherThan(uint32_t seen);
  void AwaitLeavers();

  // Constant after construction.
  const size_t thread_count;
  const size_t spin_rounds;

  // The region: written by the caller while it is closed and nobody is inside.
  const Body* body = nullptr;
  size_t count = 0;
  size_t grain = 1;

  // Each on a line of its own: they are written by different threads.
  alignas(64) std::atomic<uint32_t> epoch{0};   // odd: a region is open
  alignas(64) std::atomic<size_t> next{0};      // first index not claimed
  alignas(64) std::atomic<uint32_t> active{0};  // workers inside
  std::atomic<uint32_t> rest_epoch{1};          // whose spinners sleep; even: a closed region's
  alignas(64) std::atomic<uint32_t> sleeping_workers{0};
  std::atomic<bool> caller_sleeps{false};
  std::atomic<bool> stop{false};

  std::vector<Thread> threads;  // last, so that they end first
};

// Returns the first epoch that differs from `seen`, or the current one when the pool stops.
uint32_t ThreadPool::State::AwaitEpochOtherThan(uint32_t seen) {
  for (size_t round = 0; round < spin_rounds; ++round) {
    const uint32_t now = epoch.load(std::memory_order_acquire);
    if (now != seen) return now;
    if (rest_epoch.load(std::memory_order_relaxed) == seen) break;
    Pause();
  }
  sleeping_workers.fetch_add(1);
  uint32_t now = epoch.load();
  while (now == seen && !stop.load()) {
    FutexWait(epoch, seen);
    now = epoch.load();
  }
  sleeping_workers.fetch_sub(1);
  return now;
}

void ThreadPool::State::ClaimPieces(size_t worker) {
  for (;;) {
    const size_t begin = next.fetch_add(grain, std::memory_order_relaxed);
    if (begin >= count) return;
    (*body)(begin, std::min(begin + grain, count), worker);
  }
}

void ThreadPool::State::Work(size_t worker) {
  uint32_t seen = 0;
  while (!stop.load()) {
    seen = AwaitEpochOtherThan(seen);
    if (seen % 2 == 0) continue;
    active.fetch_add(1);
    // The region may have closed meanwhile, or the next may be open already: then that is ours too.
    seen = epoch.load();
    if (seen % 2 == 1) ClaimPieces(worker);
    if (active.fetch_sub(1) == 1 && caller_sleeps.load()) FutexWake(active, 1);
  }
}

// By the caller, after closing.
void ThreadPool::State::AwaitLeavers() {
  for (size_t round = 0; round < spin_rounds; ++round) {
    if (active.load(std::memory_order_seq_cst) == 0) return;
    Pause();
  }
  caller_sleeps.store(true);
  for (uint32_t inside = active.load(); inside != 0; inside = active.load()) {
    FutexWait(active, inside);
  }
  caller_sleeps.store(false);
}

ThreadPool::ThreadPool(const ThreadPoolConfig& config) : state_(std::make_unique<State>(config)) {
  State& state = *state_;
  state.threads.reserve(state.thread_count - 1);
  for (size_t worker = 1; worker < state.thread_count; ++worker) {
    state.threads.emplace_back(absl::StrCat("compute-", worker),
                               [&state, worker](const std::stop_token&) { state.Work(worker); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  state_->epoch.fetch_add(2);  // still closed, but different: sleepers and spinners look up
  FutexWake(state_->epoch, state_->thread_count);
}

void ThreadPool::Rest() {
  state_->rest_epoch.store(state_->epoch.load(std::memory_order_relaxed),
                           std::memory_order_relaxed);
}

size_t ThreadPool::thread_count() const { return state_->thread_count; }

void ThreadPool::ParallelFor(size_t count, size_t grain, Body body) {
  TESSERA_CHECK(grain > 0);
  if (count == 0) return;
  State& state = *state_;
  const size_t pieces = (count - 1) / grain + 1;
  if (pieces == 1 || state.thread_count == 1) {
    for (size_t begin = 0; begin < count; begin += grain) {
      body(begin, std::min(begin + grain, count), /*worker=*/0);
    }
    return;
  }
  TESSERA_CHECK(state.epoch.load() % 2 == 0);  // a region within a region, or two callers
  state.body = &body;
  state.count = count;
  state.grain = grain;
  state.next.store(0, std::memory_order_relaxed);
  state.epoch.fetch_add(1);
  if (state.sleeping_workers.load() > 0) {
    FutexWake(state.epoch, std::min(pieces, state.thread_count) - 1);
  }
  state.ClaimPieces(/*worker=*/0);
  state.epoch.fetch_add(1);
  state.AwaitLeavers();
}

}  // namespace tessera
