#include "common/concurrency/idle_poll.h"

#include <pthread.h>
#include <sched.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/concurrency/cpu_count.h"

namespace tessera {
namespace {

// Between two looks at the clock, about as long as one.
constexpr int kPauses = 16;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// The processors of the calling thread's mask; none on a machine whose mask is larger than usual.
std::vector<int> UsableCpus() {
  cpu_set_t mask;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) {
    TESSERA_LOG(WARNING) << "no processor is kept from halting: the affinity mask cannot be read";
    return cpus;
  }
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  }
  return cpus;
}

// The calling thread runs on `cpu` only, and there only when nobody else would.
bool RunsWhenIdle(int cpu) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cpu, &mask);
  const sched_param priority = {};
  return pthread_setaffinity_np(pthread_self(), sizeof(mask), &mask) == 0 &&
         pthread_setschedparam(pthread_self(), SCHED_IDLE, &priority) == 0;
}

}  // namespace

absl::StatusOr<IdlePolling> ParseIdlePolling(std::string_view name) {
  if (name == "auto") return IdlePolling::kAuto;
  if (name == "on") return IdlePolling::kOn;
  if (name == "off") return IdlePolling::kOff;
  return absl::InvalidArgumentError(
      absl::StrCat("idle_poll is '", std::string(name), "', expected auto, on or off"));
}

bool WouldHalt(size_t compute_threads) {
  return !CgroupCpuQuota().has_value() && compute_threads >= UsableCpuCount();
}

IdlePoll::IdlePoll(const Clock& clock, absl::Duration linger) : clock_(clock), linger_(linger) {
  for (const int cpu : UsableCpus()) {
    threads_.emplace_back(absl::StrCat("idle-poll-", cpu),
                          [this, cpu](const std::stop_token& stop) { Poll(stop, cpu); });
  }
}

IdlePoll::~IdlePoll() {
  for (Thread& thread : threads_) thread.RequestStop();
  wakes_.fetch_add(1);
  wakes_.notify_all();
  threads_.clear();
}

void IdlePoll::Extend() {
  until_ns_.store(absl::ToInt64Nanoseconds(clock_.Elapsed() + linger_));
  if (asleep_.load() == 0) return;
  wakes_.fetch_add(1);
  wakes_.notify_all();
}

void IdlePoll::Poll(const std::stop_token& stop, int cpu) {
  if (!RunsWhenIdle(cpu)) {
    TESSERA_LOG(WARNING) << "processor " << cpu << " is not kept from halting between the turns of "
                         << "router and shards: the kernel grants no thread of SCHED_IDLE there";
    return;
  }
  while (!stop.stop_requested()) {
    if (expired()) SleepUntilExtended(stop);
    for (int i = 0; i < kPauses; ++i) Pause();
  }
}

void IdlePoll::SleepUntilExtended(const std::stop_token& stop) {
  asleep_.fetch_add(1);
  while (true) {
    // Looks again after it was counted: Extend() sees the count, or this the new time.
    const uint32_t wakes = wakes_.load();
    if (!expired() || stop.stop_requested()) break;
    wakes_.wait(wakes);
  }
  asleep_.fetch_sub(1);
}

}  // namespace tessera
