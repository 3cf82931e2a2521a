#pragma once

// SIGINT and SIGTERM as events of the main thread.

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "common/base/owned_fd.h"
#include "common/concurrency/thread.h"

namespace tessera {

// Made before any other thread starts: from then on SIGINT and SIGTERM are blocked in this thread
// and in all that it starts, also where SIGINT was inherited as ignored, and SIGPIPE is ignored.
// Owned by the main thread.
class StopSignals {
 public:
  StopSignals();

  // The number of the next signal; waits for one.
  int Wait();
  // Readable when a signal waits to be taken by Wait; for poll.
  int fd() const { return fd_.get(); }
  // Whether one waits.
  bool pending() const;

  enum class Outcome { kDone, kSignal, kTimeout };
  // Runs `work` on a thread called `name`. Anything but kDone: it has not ended, and what it
  // touches must live until the process does; the thread is left alone.
  Outcome RunBeside(const std::string& name, absl::Duration limit, std::function<void()> work);

 private:
  const OwnedFd fd_;
};

}  // namespace tessera
