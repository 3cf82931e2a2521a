#include "services/router/edge/generate_one.h"

#include <algorithm>
#include <utility>

#include "common/base/status.h"
#include "common/rpc/rpc_status.h"

namespace tessera::router {

absl::StatusOr<wire::GenerationParams> ReadRequest(const v1::GenerateRequest& request,
                                                   absl::Time call_deadline, const Clock& clock) {
  TESSERA_ASSIGN_OR_RETURN(wire::GenerationParams params, wire::ToGenerationParams(request));
  if (call_deadline != absl::InfiniteFuture()) {
    const absl::Duration left = call_deadline - clock.Now();
    params.deadline = std::min(left, params.deadline.value_or(left));
  }
  return params;
}

wire::TokenEvent RefusedEvent(const v1::GenerateRequest& request, const absl::Status& error) {
  wire::FinishedEvent event;
  event.kind = wire::FinishKind::kError;
  event.prompt_tokens = static_cast<uint32_t>(request.prompt_token_ids_size());
  event.produced_tokens = static_cast<uint32_t>(request.produced_token_ids_size());
  event.error = error;
  const bool comes_back = error.code() == absl::StatusCode::kUnavailable ||
                          error.code() == absl::StatusCode::kResourceExhausted;
  if (comes_back) event.retry_after = BookConfig{}.retry_after;
  return {request.request_id(), std::move(event)};
}

grpc::ServerWriteReactor<v1::GenerateEvent>* GenerateOne::Begin(
    EngineLoop& loop, const Clock& clock, absl::Time call_deadline,
    const v1::GenerateRequest& request) {
  const auto reactor = std::make_shared<GenerateOne>();
  reactor->self_ = reactor;
  absl::StatusOr<wire::GenerationParams> params = ReadRequest(request, call_deadline, clock);
  if (!params.ok()) {
    reactor->Refuse(request, params.status());
    return reactor.get();
  }
  absl::StatusOr<std::shared_ptr<RequestStream>> stream =
      loop.Submit(*std::move(params), [weak = reactor->weak_from_this()] {
        if (const auto alive = weak.lock()) alive->Pump();
      });
  if (stream.ok()) {
    reactor->Attach(*std::move(stream));
  } else {
    reactor->Refuse(request, stream.status());
  }
  return reactor.get();
}

void GenerateOne::Attach(std::shared_ptr<RequestStream> stream) {
  {
    absl::MutexLock lock(&mutex_);
    stream_ = std::move(stream);
  }
  Pump();  // what came before this
}

void GenerateOne::Refuse(const v1::GenerateRequest& request, const absl::Status& error) {
  {
    absl::MutexLock lock(&mutex_);
    busy_ = true;
    last_written_ = true;
    outcome_ = error;
  }
  wire::ToProto(RefusedEvent(request, error), message_);
  StartWrite(&message_);
}

void GenerateOne::Pump() {
  {
    absl::MutexLock lock(&mutex_);
    if (busy_ || stream_ == nullptr) return;
    const std::optional<wire::TokenEvent> event = stream_->Take();
    if (!event) return;
    busy_ = true;
    if (const auto* finished = std::get_if<wire::FinishedEvent>(&event->event)) {
      last_written_ = true;
      outcome_ = finished->kind == wire::FinishKind::kCancelled
                     ? absl::CancelledError("the request was cancelled")
                     : finished->error;
    }
    wire::ToProto(*event, message_);
  }
  StartWrite(&message_);
}

void GenerateOne::OnWriteDone(bool ok) {
  absl::Status outcome;
  {
    absl::MutexLock lock(&mutex_);
    if (ok && !last_written_) {
      busy_ = false;
    } else {
      outcome = ok ? outcome_ : absl::CancelledError("the client is gone");
    }
    if (!ok && stream_ != nullptr) stream_->Cancel();
    if (busy_) {  // for good
      Finish(ToGrpc(outcome));
      return;
    }
  }
  Pump();
}

void GenerateOne::OnCancel() { CancelRequest(); }

void GenerateOne::CancelRequest() {
  absl::MutexLock lock(&mutex_);
  if (stream_ != nullptr) stream_->Cancel();
}

void GenerateOne::OnDone() {
  CancelRequest();
  self_.reset();  // perhaps the last
}

}  // namespace tessera::router
