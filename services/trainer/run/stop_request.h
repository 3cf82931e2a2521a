#pragma once

// SIGINT and SIGTERM as a wish to stop at a good moment.

#include <atomic>
#include <stop_token>

#include "common/concurrency/thread.h"
#include "common/rpc/stop_signals.h"

namespace tessera::trainer {

// The first signal asks, a second one ends the process at once, with exit code 128 + its number.
// Made by the main thread before any other starts.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  // Whether a signal has come. Thread-safe.
  bool made() const { return made_.load(); }

 private:
  void Watch();

  StopSignals signals_;
  const OwnedFd done_;  // readable: no more watching
  std::atomic<bool> made_ = false;
  Thread watcher_;  // last: it uses the others
};

}  // namespace tessera::trainer
