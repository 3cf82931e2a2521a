#include "common/rpc/rpc_status.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <algorithm>

namespace tessera {

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

void SetTimeout(grpc::ClientContext& context, absl::Duration timeout) {
  const int64_t micros = std::max<int64_t>(1000, absl::ToInt64Microseconds(timeout));
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(micros, GPR_TIMESPAN)));
}

}  // namespace tessera
