#include "services/router/edge/generate_many.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/router/edge/generate_one.h"

namespace tessera::router {
namespace {

constexpr size_t kRefusalsMax = 64;

void LoadToProto(const RouterLoad& load, v1::RouterLoad& message) {
  message.set_tokens_free(load.tokens_free);
  message.set_sequences_running(load.sequences_running);
  message.set_sequences_waiting(load.sequences_waiting);
  message.set_kv_used_ratio(load.kv_used_ratio);
  message.set_draining(load.draining);
  message.set_epoch(load.epoch);
  message.set_preemptions_total(load.preemptions_total);
  message.clear_not_ready();  // the message is used again and again
  for (const std::string& reason : load.not_ready) message.add_not_ready(reason);
}

}  // namespace

std::shared_ptr<GenerateMany> GenerateMany::Begin(EngineLoop& loop, LoadBoard& board,
                                                  const Clock& clock) {
  const auto reactor = std::make_shared<GenerateMany>(loop, board, clock);
  reactor->self_ = reactor;
  board.Listen([weak = reactor->weak_from_this()] {
    const auto alive = weak.lock();
    if (alive == nullptr) return false;
    {
      absl::MutexLock lock(&alive->mutex_);
      alive->load_due_ = true;
    }
    alive->Pump();
    return true;
  });
  reactor->Pump();
  return reactor;
}

void GenerateMany::End() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  Pump();
}

void GenerateMany::OnReadDone(bool ok) {
  if (!ok) {
    {
      absl::MutexLock lock(&mutex_);
      reading_ = false;
      input_ended_ = true;
    }
    return Pump();
  }
  if (incoming_.has_generate()) {
    TakeRequest(incoming_.generate());
  } else if (incoming_.has_cancel()) {
    absl::MutexLock lock(&mutex_);
    const auto it = streams_.find(incoming_.cancel().request_id());
    if (it != streams_.end()) it->second->Cancel();
  }  // a message of a kind this end does not know is ignored
  {
    absl::MutexLock lock(&mutex_);
    reading_ = false;
  }
  Pump();
}

void GenerateMany::TakeRequest(const v1::GenerateRequest& request) {
  absl::StatusOr<wire::GenerationParams> params =
      ReadRequest(request, absl::InfiniteFuture(), clock_);
  if (!params.ok()) return Refuse(request, params.status());
  const std::string id = params->request_id;
  {
    absl::MutexLock lock(&mutex_);
    if (streams_.contains(id)) {
      // No Finished of its own: on this stream it would end the one that runs.
      streams_[id]->Cancel();
      return;
    }
  }
  const auto stream = loop_.Submit(*std::move(params), [weak = weak_from_this(), id] {
    if (const auto alive = weak.lock()) alive->OnReady(id);
  });
  if (!stream.ok()) return Refuse(request, stream.status());
  {
    absl::MutexLock lock(&mutex_);
    streams_.emplace(id, *stream);
    if (broken_) (*stream)->Cancel();
  }
  OnReady(id);  // what came before it was known here
}

void GenerateMany::Refuse(const v1::GenerateRequest& request, const absl::Status& error) {
  absl::MutexLock lock(&mutex_);
  refusals_.push_back(RefusedEvent(request, error));
}

void GenerateMany::OnReady(const std::string& request_id) {
  {
    absl::MutexLock lock(&mutex_);
    if (!streams_.contains(request_id) || !in_ready_.insert(request_id).second) return;
    ready_.push_back(request_id);
  }
  Pump();
}

bool GenerateMany::FillMessage() {
  if (std::exchange(load_due_, false)) {
    LoadToProto(board_.Read(), *outgoing_.mutable_load());
    return true;
  }
  if (!refusals_.empty()) {
    wire::ToProto(refusals_.front(), *outgoing_.mutable_event());
    refusals_.pop_front();
    return true;
  }
  while (!ready_.empty()) {
    std::string id = std::move(ready_.front());
    ready_.pop_front();
    in_ready_.erase(id);
    const auto it = streams_.find(id);
    const std::optional<wire::TokenEvent> event = it->second->Take();
    if (!event) continue;
    wire::ToProto(*event, *outgoing_.mutable_event());
    if (std::holds_alternative<wire::FinishedEvent>(event->event)) {
      streams_.erase(it);
    } else {  // it may have more: behind the others
      in_ready_.insert(id);
      ready_.push_back(std::move(id));
    }
    return true;
  }
  return false;
}

GenerateMany::Next GenerateMany::ChooseNext() {
  if (writing_ || finished_) return Next::kNothing;
  if (!broken_ && FillMessage()) {
    writing_ = true;
    return Next::kWrite;
  }
  const bool done = broken_ || ((input_ended_ || ending_) && streams_.empty());
  if (!done) return Next::kNothing;
  finished_ = true;
  return Next::kFinish;
}

// gRPC's operations are started under the lock, so that none follows Finish; their reactions come
// on other threads.
void GenerateMany::Pump() {
  absl::MutexLock lock(&mutex_);
  switch (ChooseNext()) {
    case Next::kNothing:
      break;
    case Next::kWrite:
      StartWrite(&outgoing_);
      break;
    case Next::kFinish:
      if (broken_) {
        Finish(grpc::Status::CANCELLED);
      } else if (ending_ && !input_ended_) {
        Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "this router is stopping"));
      } else {
        Finish(grpc::Status::OK);
      }
      break;
  }
  if (reading_ || input_ended_ || finished_ || refusals_.size() >= kRefusalsMax) return;
  reading_ = true;
  StartRead(&incoming_);
}

void GenerateMany::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) {
      broken_ = true;
      CancelAll();
    }
  }
  Pump();
}

void GenerateMany::CancelAll() {
  for (const auto& [id, stream] : streams_) stream->Cancel();
}

void GenerateMany::OnCancel() {
  {
    absl::MutexLock lock(&mutex_);
    broken_ = true;
    CancelAll();
  }
  Pump();
}

void GenerateMany::OnDone() {
  {
    absl::MutexLock lock(&mutex_);
    CancelAll();
  }
  self_.reset();  // perhaps the last
}

}  // namespace tessera::router
