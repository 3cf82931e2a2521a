#pragma once

#include <sys/poll.h>

#include "absl/functional/function_ref.h"
#include "common/base/clock.h"

namespace tessera::testing {

// Asks again and again until `condition` holds; false if it does not within `limit`. For what
// happens in another process, which can only be looked at: within this one wait for an event.
inline bool WaitUntil(absl::FunctionRef<bool()> condition,
                      absl::Duration limit = absl::Seconds(20)) {
  const RealClock clock;
  const absl::Duration end = clock.Elapsed() + limit;
  while (!condition()) {
    if (clock.Elapsed() >= end) return false;
    poll(nullptr, 0, /*ms=*/5);
  }
  return true;
}

}  // namespace tessera::testing
