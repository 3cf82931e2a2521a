#pragma once

// What the router can take now, written by the engine thread, read by those who tell gateways.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace tessera::router {

// tessera.v1.RouterLoad; the comments of the fields stand there.
struct RouterLoad {
  uint32_t tokens_free = 0;
  uint32_t sequences_running = 0;
  uint32_t sequences_waiting = 0;
  float kv_used_ratio = 0;
  bool draining = false;
  uint64_t epoch = 0;
  uint64_t preemptions_total = 0;
  uint64_t prompt_tokens_total = 0;  // of prompts whose computing began; not told to gateways
  std::vector<std::string> not_ready;
};

// Thread-safe.
class LoadBoard {
 public:
  RouterLoad Read() const;
  // Once draining, always draining; reasons not to be ready are SetNotReady's alone. Listeners hear
  // of changes a gateway would act on: not of a free token more or less.
  void Write(RouterLoad load);
  void SetDraining();
  void SetNotReady(std::vector<std::string> reasons);

  // Called after changes, by whoever made them, without a lock; must not block. Returns false when
  // it wants no more calls.
  void Listen(std::function<bool()> listener);

 private:
  void Tell();

  mutable absl::Mutex mutex_;
  RouterLoad load_ ABSL_GUARDED_BY(mutex_);
  RouterLoad told_ ABSL_GUARDED_BY(mutex_);
  // Held while listeners are called, so that two changes do not call them at once.
  absl::Mutex listeners_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  std::vector<std::function<bool()>> listeners_ ABSL_GUARDED_BY(listeners_mutex_);
};

}  // namespace tessera::router
