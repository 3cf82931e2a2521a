#include "common/base/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace tessera {

absl::Time RealClock::Now() const { return absl::Now(); }

absl::Duration RealClock::Elapsed() const {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace tessera
