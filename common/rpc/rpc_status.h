#pragma once

// gRPC's status and deadlines in our terms. gRPC types appear as references only, so that this
// header costs nothing to include.

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace grpc {
class ClientContext;
class Status;
}  // namespace grpc

namespace tessera {

// Codes are the same numbers on both sides.
absl::Status FromGrpc(const grpc::Status& status);
grpc::Status ToGrpc(const absl::Status& status);

// Every call carries a deadline: `timeout` from now, at least 1 ms.
void SetTimeout(grpc::ClientContext& context, absl::Duration timeout);

}  // namespace tessera
