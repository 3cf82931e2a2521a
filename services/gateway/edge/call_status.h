#pragma once

// An error as a client of the gRPC port sees it: what REST says, in gRPC's terms. gRPC types appear
// as references only.

#include <string>

#include "absl/status/status.h"
#include "services/gateway/api/api_error.h"

namespace grpc {
class CallbackServerContext;
class ServerUnaryReactor;
class Status;
}  // namespace grpc

namespace tessera::gateway {

// An internal error says nothing of what is inside, as over REST. With the error goes a
// google.rpc.Status (trailer grpc-status-details-bin):
//   ErrorInfo  reason is the error's code ("queue_full"), domain "tessera", metadata "param"
//   RetryInfo  when to come back
grpc::Status ToCallStatus(const absl::Status& status);

// The reaction to a unary call that has its answer already, or this error.
grpc::ServerUnaryReactor* FinishedCall(grpc::CallbackServerContext& context,
                                       const absl::Status& status);

// That google.rpc.Status; empty if there is no more to say than code and message.
std::string StatusDetails(absl::StatusCode code, const ApiError& error);

}  // namespace tessera::gateway
