#pragma once

// Frames through memory shared by two processes of one box: copied into a slot of the peer's queue,
// read where they lie. A peer that dies amid a frame disturbs nobody.
//
// Addresses are names in the abstract namespace of Unix sockets ("" to listen at: a fresh one), so
// both ends must be of one user, or root, and of one network namespace.

#include <memory>

#include "absl/status/statusor.h"
#include "common/transport/transport.h"

namespace tessera {

// kUnavailable if the system has no descriptors left.
absl::StatusOr<std::unique_ptr<Transport>> MakeShmTransport();

}  // namespace tessera
