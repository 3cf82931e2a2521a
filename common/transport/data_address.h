#pragma once

// Addresses of the data plane say how they are reached.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/transport/transport.h"
#include "common/transport/transport_grpc.h"
#include "common/transport/transport_loopback.h"
#include "common/transport/transport_shm.h"
#include "common/transport/transport_ucx.h"

namespace tessera {

enum class DataWay { kUcx, kShm, kGrpc, kLoopback };

struct DataAddress {
  DataWay way = DataWay::kUcx;
  std::string
      place;  // what the Transport of this way takes: "host:port", or a name for shm and loopback
};

// "ucx:127.0.0.1:8021", "ucx:[::1]:8021", "shm:tessera-0", "grpc:shard-0.shards:8020",
// "loopback:shard-0". kInvalidArgument: another or no scheme; the message lists the four.
absl::StatusOr<DataAddress> ParseDataAddress(std::string_view text);

// The form that ParseDataAddress reads.
std::string FormatDataAddress(const DataAddress& address);

// What the transports of a process are made from.
struct TransportOptions {
  UcxConfig ucx;
  GrpcTransportConfig grpc;
  std::shared_ptr<GrpcDoor> grpc_door;        // of a service that has one; may be null
  std::shared_ptr<LoopbackNetwork> loopback;  // null: this process has none
};

// kUnavailable         UCX or shared memory cannot be had
// kFailedPrecondition  loopback without a network
absl::StatusOr<std::unique_ptr<Transport>> MakeTransport(DataWay way,
                                                         const TransportOptions& options);

}  // namespace tessera
