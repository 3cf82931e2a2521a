#pragma once

// A session whose client speaks HTTP: events as they come, or one reply at the end.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/api/reply.h"
#include "services/gateway/http/http_server.h"
#include "services/gateway/keys/rate_limiter.h"
#include "services/gateway/session/generation_session.h"

namespace tessera::gateway {

constexpr ErrorDialect DialectOf(ApiDialect dialect) {
  return dialect == ApiDialect::kMessages ? ErrorDialect::kAnthropic : ErrorDialect::kOpenAi;
}

// Who asks, and how the answer leaves.
struct HttpCall {
  std::shared_ptr<HttpReply> reply;
  std::string request_id;
  ErrorDialect dialect = ErrorDialect::kOpenAi;
  absl::Duration received;            // Clock::Elapsed
  std::shared_ptr<const ApiKey> key;  // null without keys
};

// Of every reply: the request's name as clients of its dialect look for it, and what is left of the
// key's limits now.
std::vector<HttpHeader> HeadersOf(const HttpCall& call, RateLimiter& limiter);

// Sends `status` (not OK) as the dialect's error reply.
void SendError(const HttpCall& call, RateLimiter& limiter, const absl::Status& status);
void SendError(const HttpCall& call, RateLimiter& limiter, const ApiError& error);

// Lives until its reply has ended or its client is gone. Owned by the connection's thread.
class HttpGeneration final : public SessionSink,
                             public std::enable_shared_from_this<HttpGeneration> {
 public:
  // Starts the session; from then on it keeps itself alive. On the connection's thread.
  static std::shared_ptr<HttpGeneration> Start(const SessionRooms& rooms, PreparedRequest prepared,
                                               const ReplyHead& head, HttpCall call);
  HttpGeneration(const SessionRooms& rooms, PreparedRequest prepared, const ReplyHead& head,
                 HttpCall call);
  ~HttpGeneration() override;

  // From any thread; what is given is let go on the connection's: the last reference would end the
  // session where it goes.
  //   Ping    writes a comment to a stream if nothing was written for `interval`
  //   GiveUp  ends it with that error, unless it is over
  static void Ping(std::shared_ptr<HttpGeneration> generation, absl::Duration interval);
  static void GiveUp(std::shared_ptr<HttpGeneration> generation, const absl::Status& status);

  void OnBegin(uint32_t choice, const PromptReport& prompt, const Usage& usage) override;
  void OnStep(uint32_t choice, const ChoiceStep& step, const Usage& usage) override;
  void OnChoiceEnd(uint32_t choice, const ChoiceEnd& end, const Usage& usage) override;
  void OnEnd(const Usage& usage) override;
  void OnError(const absl::Status& status) override;

 private:
  void BeginStream();
  void Write(std::string bytes);

  const Clock& clock_;
  RateLimiter& limiter_;
  const HttpCall call_;
  const ReplyHead head_;
  const std::shared_ptr<GenerationSession> session_;
  const std::unique_ptr<StreamWriter> writer_;  // null: one reply at the end
  std::vector<ChoiceOutput> outputs_;           // without writer_, by choice
  bool head_sent_ = false;
  absl::Duration written_at_;
};

// Those that are under way. Thread-safe.
class OpenGenerations {
 public:
  void Add(const std::shared_ptr<HttpGeneration>& generation);
  void Ping(absl::Duration interval);
  void GiveUp(const absl::Status& status);

 private:
  std::vector<std::shared_ptr<HttpGeneration>> Open();

  absl::Mutex mutex_;
  std::vector<std::weak_ptr<HttpGeneration>> open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::gateway
