#include "services/router/dispatch/idle_polling.h"

namespace tessera::router {
namespace {

// Longer than what a router computes between two layers' calls, so that pollers seldom sleep while
// tokens are made; short enough to cost nothing when the last has been.
constexpr absl::Duration kLinger = absl::Milliseconds(20);

}  // namespace

std::unique_ptr<IdlePoll> StartIdlePoll(IdlePolling wanted, bool beside, size_t compute_threads,
                                        const Clock& clock) {
  const bool pays = beside && WouldHalt(compute_threads);
  if (wanted == IdlePolling::kOff || (wanted == IdlePolling::kAuto && !pays)) return nullptr;
  return std::make_unique<IdlePoll>(clock, kLinger);
}

}  // namespace tessera::router
