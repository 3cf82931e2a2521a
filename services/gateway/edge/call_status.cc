#include "services/gateway/edge/call_status.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <string_view>

#include "common/rpc/rpc_status.h"

namespace tessera::gateway {
namespace {

// The few messages of google.rpc are written by hand: field numbers and wire types are theirs.
void AppendVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void AppendNumber(uint32_t field, uint64_t value, std::string& out) {
  AppendVarint(field << 3, out);
  AppendVarint(value, out);
}

void AppendBytes(uint32_t field, std::string_view bytes, std::string& out) {
  AppendVarint(field << 3 | 2, out);
  AppendVarint(bytes.size(), out);
  out += bytes;
}

// google.protobuf.Any of a message, as a detail of google.rpc.Status.
void AppendDetail(std::string_view type, std::string_view message, std::string& out) {
  std::string any;
  AppendBytes(1, "type.googleapis.com/" + std::string(type), any);
  AppendBytes(2, message, any);
  AppendBytes(3, any, out);
}

std::string ErrorInfo(const ApiError& error) {
  std::string info;
  AppendBytes(1, error.code.value_or(""), info);
  AppendBytes(2, "tessera", info);
  if (error.param.has_value()) {
    std::string entry;
    AppendBytes(1, "param", entry);
    AppendBytes(2, *error.param, entry);
    AppendBytes(3, entry, info);
  }
  return info;
}

std::string RetryInfo(absl::Duration after) {
  absl::Duration rest;
  std::string duration;
  AppendNumber(1, static_cast<uint64_t>(absl::IDivDuration(after, absl::Seconds(1), &rest)),
               duration);
  AppendNumber(2, static_cast<uint64_t>(absl::ToInt64Nanoseconds(rest)), duration);
  std::string info;
  AppendBytes(1, duration, info);
  return info;
}

}  // namespace

std::string StatusDetails(absl::StatusCode code, const ApiError& error) {
  if (!error.code.has_value() && !error.param.has_value() && !error.retry_after.has_value()) {
    return "";
  }
  std::string details;
  AppendNumber(1, static_cast<uint64_t>(code), details);
  AppendBytes(2, error.message, details);
  if (error.code.has_value() || error.param.has_value()) {
    AppendDetail("google.rpc.ErrorInfo", ErrorInfo(error), details);
  }
  if (error.retry_after.has_value()) {
    AppendDetail("google.rpc.RetryInfo", RetryInfo(*error.retry_after), details);
  }
  return details;
}

grpc::Status ToCallStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const ApiError error = ToApiError(status);
  const grpc::Status plain = ToGrpc(absl::Status(status.code(), error.message));
  return grpc::Status(plain.error_code(), plain.error_message(),
                      StatusDetails(status.code(), error));
}

grpc::ServerUnaryReactor* FinishedCall(grpc::CallbackServerContext& context,
                                       const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  reactor->Finish(ToCallStatus(status));
  return reactor;
}

}  // namespace tessera::gateway
