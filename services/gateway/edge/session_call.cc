#include "services/gateway/edge/session_call.h"

#include <functional>
#include <utility>

#include "services/gateway/api/api_error.h"

namespace tessera::gateway {

void SessionCall::StartSession(const SessionRooms& rooms, PreparedRequest prepared,
                               std::shared_ptr<const ApiKey> key, const std::string& request_id) {
  // Made where it lives: whoever aborts the call meanwhile finds none, and then none is made.
  tasks_.Post([self = shared_from_this(), &rooms, key = std::move(key), request_id,
               received = rooms.clock.Elapsed(),
               shared = std::make_shared<PreparedRequest>(std::move(prepared))] {
    if (self->has_ended()) return;
    self->session_ = std::make_shared<GenerationSession>(
        rooms, std::move(*shared), key, request_id, received,
        [&tasks = self->tasks_](std::function<void()> task) { tasks.Post(std::move(task)); },
        *self);
    if (const absl::Status started = self->session_->Start(); !started.ok()) self->End(started);
  });
}

void SessionCall::End(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (!std::exchange(has_ended_, true)) FinishCall(status);
}

bool SessionCall::has_ended() {
  absl::MutexLock lock(&mutex_);
  return has_ended_;
}

void SessionCall::Abort(AbortCause cause, const absl::Status& status) {
  tasks_.Post([self = shared_from_this(), cause, status] {
    if (self->session_ != nullptr) self->session_->Abort(cause);
    self->End(status);
  });
}

void SessionCall::Release() {
  // The session ends where it lives.
  tasks_.Post([self = std::move(self_)] {
    if (self->session_ != nullptr) self->session_->Abort(AbortCause::kClient);
  });
}

void CallList::Add(const std::shared_ptr<SessionCall>& call, std::string request_id,
                   std::string owner) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(running_, [](const Running& running) { return running.call.expired(); });
  running_.push_back({std::move(request_id), std::move(owner), call});
}

uint32_t CallList::Abort(const std::string& request_id, const std::string& owner) {
  uint32_t count = 0;
  absl::MutexLock lock(&mutex_);
  std::erase_if(running_, [&](const Running& running) {
    if (running.request_id != request_id || running.owner != owner) return false;
    if (const auto call = running.call.lock()) {
      ++count;
      call->Abort(AbortCause::kClient, absl::CancelledError("aborted on request"));
    }
    return true;
  });
  return count;
}

void CallList::EndAll() {
  absl::MutexLock lock(&mutex_);
  for (const Running& running : running_) {
    if (const auto call = running.call.lock()) {
      call->Abort(AbortCause::kInternal, Draining());
    }
  }
}

bool CallList::has_any() {
  absl::MutexLock lock(&mutex_);
  std::erase_if(running_, [](const Running& running) { return running.call.expired(); });
  return !running_.empty();
}

}  // namespace tessera::gateway
