#pragma once

// How many CPUs this process may really use.

#include <cstddef>
#include <optional>
#include <string>

namespace tessera {

// CPUs this process may really use: the smallest of the affinity mask and the cgroup quota (rounded
// up, at least 1), never the machine's core count alone. `root` is "/" but for tests.
size_t UsableCpuCount(const std::string& root = "/");

// CPU seconds a second that the control group of this process or one of its parents allows, the
// smallest (cpu.max of version 2, cpu.cfs_quota_us of version 1); nothing: no limit.
std::optional<double> CgroupCpuQuota(const std::string& root = "/");

}  // namespace tessera
