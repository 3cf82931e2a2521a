#pragma once

// Frames as UCX active messages: shared memory with a TCP lane beside it on one box, TCP or RDMA
// between boxes.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/transport/transport.h"

namespace tessera {

struct UcxConfig {
  // UCX's names. A lane that notices death (tcp, rc) has to be among them: with shared memory alone
  // a killed peer is not noticed. Between boxes "tcp,self" or "rc,tcp,self".
  std::string transports = "posix,tcp,self";
  std::string net_devices;  // of TCP and RDMA ("eth0", "mlx5_0:1"); empty: all
  // TCP lanes over IPv6: both ends must say so, and use an address of a real device (UCX 1.13 takes
  // no lane over ::1). Off, IPv6 addresses serve for nothing, and IPv4 ones for everything.
  bool ipv6 = false;
};

// Puts into the environment what UCX 1.13 reads from there alone, unless it is set: listeners take
// their port again at once after the process that had it was killed. To be called while the process
// has one thread.
void SetUcxEnvironment();

// Where memory is shared each link has a UCX worker of its own (0.5 MB, 2 ms to make, each polled),
// so that a peer which dies amid a send silences no other. Between boxes, with many peers, leave
// "posix" out: one worker serves them all.
//
// Addresses are "host:port" or "[v6]:port". kUnavailable if UCX cannot be had, with what it says.
absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxConfig& config);

}  // namespace tessera
