#include "services/cli/upstream/generation_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/retry.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/generation.grpc.pb.h"

namespace tessera::cli {

GenerationClient::GenerationClient(Whereabouts whereabouts, TlsFiles tls, const Clock& clock)
    : whereabouts_(std::move(whereabouts)), tls_(std::move(tls)), clock_(clock) {}

absl::Status GenerationClient::RunOnce(
    const std::string& address, absl::Duration time_left, wire::GenerationParams& params,
    wire::FinishedEvent& finished,
    const std::function<void(const wire::TokensEvent&)>& on_tokens) const {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                           MakeChannel({.address = address, .tls = tls_}));
  const auto stub = v1::Generation::NewStub(channel);
  grpc::ClientContext context;
  SetTimeout(context, time_left);
  params.deadline = absl::Trunc(time_left, absl::Milliseconds(1));
  v1::GenerateRequest request;
  wire::ToProto(params, request);
  const auto reader = stub->Generate(&context, request);
  bool ended = false;
  v1::GenerateEvent message;
  while (reader->Read(&message)) {
    const absl::StatusOr<wire::TokenEvent> event = wire::ToTokenEvent(message);
    if (!event.ok()) {
      context.TryCancel();
      return event.status();
    }
    if (const auto* tokens = std::get_if<wire::TokensEvent>(&event->event)) {
      for (const wire::TokenOutput& token : tokens->tokens) params.produced.push_back(token.token);
      on_tokens(*tokens);
    } else if (const auto* end = std::get_if<wire::FinishedEvent>(&event->event)) {
      finished = *end;
      ended = true;
    }
  }
  const absl::Status status = FromGrpc(reader->Finish());
  if (ended) return finished.error;
  if (!status.ok()) return Annotate(status, absl::StrCat("router ", address));
  return absl::UnavailableError(absl::StrCat("router ", address, " ended the request unfinished"));
}

absl::StatusOr<wire::FinishedEvent> GenerationClient::Run(
    wire::GenerationParams params, absl::Duration timeout,
    const std::function<void(const wire::TokensEvent&)>& on_tokens) {
  // A router that starts again has to load its weights: tried until the time is over.
  const RetryPolicy policy = {.attempts_max = 1000, .pause_first = absl::Milliseconds(100)};
  RetryBudget budget({.retries_saved_max = 1000});
  const auto pause = [](absl::Duration time) {
    absl::Notification never;
    never.WaitForNotificationWithTimeout(time);
    return true;
  };
  wire::FinishedEvent finished;
  const RetryContext context = {clock_, budget, pause};
  TESSERA_RETURN_IF_ERROR(
      Retry(policy, context, timeout, [&](int, absl::Duration time_left) -> absl::Status {
        TESSERA_ASSIGN_OR_RETURN(const std::string address, whereabouts_());
        return RunOnce(address, time_left, params, finished, on_tokens);
      }));
  return finished;
}

}  // namespace tessera::cli
