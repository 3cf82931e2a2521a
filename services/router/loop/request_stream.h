#pragma once

// The answers of one request, on their way from the engine thread to whoever reads them.

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/tracing/tracer.h"
#include "common/wire/generation_wire.h"

namespace tessera::router {

// Thread-safe; shared by the engine's book and the reader, as either may be done first. Bounded by
// what the request may produce, so a slow reader costs memory and never time: tokens it has not
// taken yet become one event.
class RequestStream {
 public:
  // `wake` is called by the engine thread, at most once a step, when there is something to take;
  // must not block and may come after the reader lost interest.
  RequestStream(std::string request_id, std::function<void()> wake, Tracer::Scope scope = {})
      : request_id_(std::move(request_id)), scope_(scope), wake_(std::move(wake)) {}

  const std::string& request_id() const { return request_id_; }
  const Tracer::Scope& scope() const { return scope_; }  // of its span

  // The next event, without waiting: Started, then Tokens, then Finished, after which nothing
  // comes.
  std::optional<wire::TokenEvent> Take();
  // Ends the request before the next step. From any thread.
  void Cancel() { cancelled_.store(true, std::memory_order_release); }
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }

  // For the engine thread. `index` follows the one before.
  void PutStarted(wire::StartedEvent event);
  void PutToken(uint32_t index, wire::TokenOutput token);
  void PutFinished(wire::FinishedEvent event);
  void Wake() const { wake_(); }

 private:
  const std::string request_id_;
  const Tracer::Scope scope_;
  const std::function<void()> wake_;
  std::atomic<bool> cancelled_ = false;

  absl::Mutex mutex_;
  std::optional<wire::StartedEvent> started_ ABSL_GUARDED_BY(mutex_);
  wire::TokensEvent tokens_ ABSL_GUARDED_BY(mutex_);
  std::optional<wire::FinishedEvent> finished_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::router
