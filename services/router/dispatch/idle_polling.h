#pragma once

#include <cstddef>
#include <memory>

#include "common/base/clock.h"
#include "common/concurrency/idle_poll.h"

namespace tessera::router {

// What a router tells of the turns of its shards (DispatchRooms::idle_poll), or null. kAuto: where
// shards `beside` it, on the same machine, take turns with `compute_threads` on all processors.
std::unique_ptr<IdlePoll> StartIdlePoll(IdlePolling wanted, bool beside, size_t compute_threads,
                                        const Clock& clock);

}  // namespace tessera::router
