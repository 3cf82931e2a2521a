#include "services/router/loop/request_stream.h"

#include <utility>

#include "common/base/check.h"

namespace tessera::router {

std::optional<wire::TokenEvent> RequestStream::Take() {
  absl::MutexLock lock(&mutex_);
  if (started_) {
    return wire::TokenEvent{request_id_, *std::exchange(started_, std::nullopt)};
  }
  if (!tokens_.tokens.empty()) {
    wire::TokensEvent taken = std::exchange(tokens_, {});
    return wire::TokenEvent{request_id_, std::move(taken)};
  }
  if (finished_) {
    return wire::TokenEvent{request_id_, *std::exchange(finished_, std::nullopt)};
  }
  return std::nullopt;
}

void RequestStream::PutStarted(wire::StartedEvent event) {
  absl::MutexLock lock(&mutex_);
  started_ = std::move(event);
}

void RequestStream::PutToken(uint32_t index, wire::TokenOutput token) {
  absl::MutexLock lock(&mutex_);
  if (tokens_.tokens.empty()) tokens_.first_index = index;
  TESSERA_CHECK(index == tokens_.first_index + tokens_.tokens.size());
  tokens_.tokens.push_back(std::move(token));
}

void RequestStream::PutFinished(wire::FinishedEvent event) {
  absl::MutexLock lock(&mutex_);
  finished_ = std::move(event);
}

}  // namespace tessera::router
