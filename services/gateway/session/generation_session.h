#pragma once

// One request from its parsed form to its last event: the gateway's corridor.
//
//   Start --key's limits--> --fair queue--> --router pool--> tokens --Choice--> SessionSink
//   Abort, an error, the last choice: everything still under way is cancelled
//
// A session lives on one thread, the one `post` leads to. Routers and queue call from theirs;
// what they say is posted.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/tracing/tracer.h"
#include "services/gateway/api/output.h"
#include "services/gateway/batching/admission.h"
#include "services/gateway/keys/key_set.h"
#include "services/gateway/keys/rate_limiter.h"
#include "services/gateway/parse/tool_parser.h"
#include "services/gateway/session/choice.h"
#include "services/gateway/session/gateway_metrics.h"
#include "services/gateway/session/prepared_request.h"
#include "services/gateway/text/text_model.h"
#include "services/gateway/upstream/router_pool.h"

namespace tessera::gateway {

// Runs a task on a session's thread. Thread-safe.
using PostTask = std::function<void(std::function<void()> task)>;

// Where a session's output goes. Called on the session's thread.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  // Once per choice, first. Choices come interleaved.
  virtual void OnBegin(uint32_t choice, const PromptReport& prompt, const Usage& usage) = 0;
  virtual void OnStep(uint32_t choice, const ChoiceStep& step, const Usage& usage) = 0;
  virtual void OnChoiceEnd(uint32_t choice, const ChoiceEnd& end, const Usage& usage) = 0;
  // One of the two is the last call.
  virtual void OnEnd(const Usage& usage) = 0;
  virtual void OnError(const absl::Status& status) = 0;
};

struct SessionConfig {
  absl::Duration request_timeout = absl::Minutes(10);  // without one of its own, and at most
  // What a request without max_tokens is taken to produce when room is looked for.
  uint32_t reply_tokens_expected = 512;
  ToolFormat tools = ToolFormat::kNone;
  ReasoningRule reasoning = ReasoningRule::kNone;
  bool log_requests = false;  // a line of the log for each that ended, see request_log.h
};

// What sessions share; all borrowed, thread-safe, outliving them.
struct SessionRooms {
  const SessionConfig& config;
  const TextModel& model;
  Admission& admission;
  RouterPool& pool;
  RateLimiter& limiter;
  GatewayMetrics& metrics;
  const Clock& clock;
  std::function<std::string()> next_call_id;  // see MakeCallId
  Tracer* tracer = nullptr;                   // null: the client's trace is carried on, no more
};

// Whether the key is over a limit that any request would meet; counted as a refusal if so. For
// before a prompt is read. Errors are those of RateLimiter::Check; `key` null: never.
absl::Status CheckLimits(const SessionRooms& rooms, const ApiKey* key);

class GenerationSession : public std::enable_shared_from_this<GenerationSession> {
 public:
  // `key`: whose request it is; null without keys. `request_id`: unique among running requests is
  // not asked for. `received`: Clock::Elapsed of the request's arrival. The sink is borrowed; it
  // calls Abort before it goes.
  GenerationSession(const SessionRooms& rooms, PreparedRequest prepared,
                    std::shared_ptr<const ApiKey> key, std::string request_id,
                    absl::Duration received, PostTask post, SessionSink& sink);

  // On the session's thread. An error ends the session; the sink is not told. Errors are those of
  // RateLimiter::Admit and Admission::Enqueue.
  absl::Status Start();
  // Ends it without another call of the sink. On the session's thread.
  void Abort(AbortCause cause);

  const PreparedRequest& prepared() const { return prepared_; }
  bool is_over() const { return is_over_; }  // of the session's thread
  Usage usage() const;

 private:
  // What other threads touch of a choice.
  struct Flight {
    uint64_t ticket = 0;      // of the queue; 0: not there
    uint64_t number = 0;      // of the pool; 0: not there
    absl::Duration launched;  // Clock::Elapsed
    bool is_running = false;  // at a router, and counted so
  };

  // Of the key's budget, until what was used is known.
  uint64_t tokens_expected() const {
    return prepared_.tokens_expected(rooms_.config.reply_tokens_expected);
  }
  absl::Status Enqueue(uint32_t choice);
  absl::Status Launch(uint32_t choice);  // from any thread
  void OnEvent(uint32_t choice, const wire::TokenEvent& event);
  void OnStarted(uint32_t choice, const wire::StartedEvent& event);
  void OnTokens(uint32_t choice, const wire::TokensEvent& event);
  void OnFinished(uint32_t choice, const wire::FinishedEvent& event);
  void NoteTimings(uint32_t choice, const wire::FinishedEvent& event);
  void Tell(uint32_t choice);
  void Fail(const absl::Status& status);
  void Cancel(uint32_t choice);
  void CountOut(Flight& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `error_type`: "" if every choice came to its end.
  void Close(std::string_view error_type);
  void Report(std::string_view error_type, const Usage& used);

  const SessionRooms rooms_;
  const PreparedRequest prepared_;
  const std::shared_ptr<const ApiKey> key_;
  const std::string request_id_;
  const absl::Duration received_;
  const absl::Duration deadline_;
  const Tracer::Scope scope_;
  const PostTask post_;
  SessionSink& sink_;

  // The session's thread.
  std::vector<std::unique_ptr<Choice>> choices_;
  std::vector<bool> begun_;
  std::vector<absl::Duration> last_token_at_;
  uint32_t ended_count_ = 0;
  uint32_t cached_tokens_ = 0;
  Timings timings_;
  bool has_token_ = false;
  bool is_admitted_ = false;  // by the limiter
  bool is_over_ = false;

  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Flight> flights_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::gateway
