#include "services/gateway/edge/call_gate.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/http/http_types.h"

namespace tessera::gateway {
namespace {

std::string MetadataOf(const grpc::CallbackServerContext& context, const char* name) {
  const auto found = context.client_metadata().find(name);
  if (found == context.client_metadata().end()) return "";
  return std::string(found->second.data(), found->second.size());
}

}  // namespace

absl::Status CallGate::Identify(const grpc::CallbackServerContext& context, RouteClass route,
                                std::shared_ptr<const ApiKey>& key) const {
  if (rooms_.keys == nullptr) return absl::OkStatus();
  const std::string authorization = MetadataOf(context, "authorization");
  const std::string x_api_key = MetadataOf(context, "x-api-key");
  const std::string_view secret = PresentedSecret(authorization, x_api_key);
  const std::shared_ptr<const KeySet> keys = rooms_.keys->Snapshot();
  const ApiKey* found = secret.empty() ? nullptr : keys->Find(secret);
  if (found != nullptr) key = std::shared_ptr<const ApiKey>(keys, found);
  return CheckAccess(route, true, !secret.empty(), found);
}

absl::StatusOr<PreparedRequest> CallGate::Read(const grpc::CallbackServerContext& context,
                                               ApiDialect dialect, absl::StatusOr<std::string> body,
                                               std::shared_ptr<const ApiKey>& key) const {
  TESSERA_RETURN_IF_ERROR(Identify(context, RouteClass::kModel, key));
  if (draining_) return Draining();
  TESSERA_RETURN_IF_ERROR(CheckLimits(rooms_.sessions, key.get()));
  TESSERA_RETURN_IF_ERROR(body.status());
  TESSERA_ASSIGN_OR_RETURN(GenerationRequest request,
                           ReadGenerationRequest(dialect, *body, rooms_.limits));
  TESSERA_ASSIGN_OR_RETURN(request.model, ResolveModel(request.model, key.get()));
  const absl::Duration left = absl::FromChrono(context.deadline()) - rooms_.sessions.clock.Now();
  if (left < request.timeout.value_or(absl::InfiniteDuration())) request.timeout = left;
  TESSERA_ASSIGN_OR_RETURN(
      PreparedRequest prepared,
      Prepare(std::move(request), rooms_.sessions.model,
              {.reasoning = rooms_.sessions.config.reasoning}, rooms_.sessions.clock.Now()));
  prepared.trace = ParseTraceparent(MetadataOf(context, "traceparent"));
  return prepared;
}

std::string CallGate::RequestIdOf(const grpc::CallbackServerContext& context,
                                  const std::string& wanted) {
  std::string id = MetadataOf(context, "x-request-id");
  if (IsRequestId(id)) return id;
  if (IsRequestId(wanted)) return wanted;
  return absl::StrCat("grpc-", absl::Hex(RandomBits(id_seed_, next_id_++), absl::kZeroPad16));
}

}  // namespace tessera::gateway
