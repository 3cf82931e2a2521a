#pragma once

// Time as a dependency: components take a Clock, tests pass one they advance by hand.

#include "absl/time/time.h"

namespace tessera {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock, for logs and file names; may jump.
  virtual absl::Time Now() const = 0;
  // Time since an arbitrary start; never goes back. For durations and deadlines.
  virtual absl::Duration Elapsed() const = 0;
};

// The machine's clock.
class RealClock final : public Clock {
 public:
  absl::Time Now() const override;
  absl::Duration Elapsed() const override;
};

}  // namespace tessera
