#pragma once

// Small questions to this box: ports, readiness of a listener, leftovers in shared memory.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera::cli {

// kUnavailable naming the address if somebody has it already, or it is not of this box.
absl::Status CheckCanListen(const std::string& host, uint16_t port);

// A port nobody listens at, below the ports that the kernel gives to outgoing connections: one of
// those might be taken while its listener restarts, even by a client that tries to reach it.
absl::StatusOr<uint16_t> PickPort(const std::string& host);

// The status code of GET `path` at "host:port", 0 if there is no answer within `timeout`.
int HttpStatusOf(const std::string& address, const std::string& path, absl::Duration timeout);

// Removes what UCX left in `folder`: files called ucx_shm_posix_* of this user that no process has
// open. UCX takes the name away as soon as it has made the file, so that only a process killed
// between the two leaves one. Returns the names removed.
std::vector<std::string> RemoveStaleSharedMemory(const std::string& folder = "/dev/shm");

}  // namespace tessera::cli
