#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/concurrency/thread_pool.h"

namespace tessera::cli {

// Bytes a second that all threads of `pool` together read from memory in a plain loop: the limit
// that decode is measured against. Median of `rounds` passes over a buffer as large as the model's
// weights, but from 128 MiB (beyond most caches) to 1 GiB (beyond any cache share of ours).
// kResourceExhausted if that memory cannot be had.
absl::StatusOr<double> MeasureReadBandwidth(ThreadPool& pool, const Clock& clock,
                                            size_t weight_bytes, int rounds = 5);

}  // namespace tessera::cli
