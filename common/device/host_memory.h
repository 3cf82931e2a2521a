#pragma once

// How much memory this process may use.

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace tessera {

struct MemoryBudget {
  size_t available_bytes = 0;  // what may still be allocated: the smaller of the two below
  size_t free_bytes = 0;       // MemAvailable of /proc/meminfo
  // limit - used + reclaimable file cache, the smallest over the cgroup and its parents; SIZE_MAX:
  // no limit.
  size_t cgroup_free_bytes = 0;
};

// kInternal if /proc cannot be read. `root` is "/" but for tests. Reads cgroup v2 and v1.
absl::StatusOr<MemoryBudget> ReadMemoryBudget(const std::string& root = "/");

// Resident set of this process: now, and its highest so far; 0 where /proc is missing.
size_t ResidentBytes();
size_t PeakResidentBytes();

}  // namespace tessera
