#pragma once

// What a streaming and a unary call of the gRPC port have in common: a session that lives on the
// task thread, while reactions come on gRPC's threads. No header of gRPC shows here.

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "services/gateway/edge/task_thread.h"
#include "services/gateway/session/generation_session.h"

namespace tessera::gateway {

class SessionCall : public SessionSink, public std::enable_shared_from_this<SessionCall> {
 public:
  // `tasks` is borrowed.
  explicit SessionCall(TaskThread& tasks) : tasks_(tasks) {}

  // The call keeps itself alive until Release: gRPC is done with it then.
  void Hold() { self_ = shared_from_this(); }
  // Once. `rooms` is borrowed and outlives the call. Nothing starts if the call has ended.
  void StartSession(const SessionRooms& rooms, PreparedRequest prepared,
                    std::shared_ptr<const ApiKey> key, const std::string& request_id);
  // From any thread: ends the session, then the call.
  void Abort(AbortCause cause, const absl::Status& status);
  // Ends the call; from any thread, the first time counts.
  void End(const absl::Status& status);

  void OnBegin(uint32_t, const PromptReport&, const Usage&) override {}
  void OnError(const absl::Status& status) override { End(status); }

 protected:
  // Called by the reactor's OnDone, last.
  void Release();
  // Tells gRPC; called once, when the call has ended.
  virtual void FinishCall(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;

  absl::Mutex mutex_;
  bool has_ended_ ABSL_GUARDED_BY(mutex_) = false;

 private:
  bool has_ended();

  TaskThread& tasks_;
  std::shared_ptr<SessionCall> self_;
  std::shared_ptr<GenerationSession> session_;  // the task thread's
};

// The calls under way, to be ended from outside. Thread-safe.
class CallList {
 public:
  void Add(const std::shared_ptr<SessionCall>& call, std::string request_id, std::string owner);
  // Ends the owner's calls of that id, as if their client had left. Returns how many.
  uint32_t Abort(const std::string& request_id, const std::string& owner);
  // The server shuts down.
  void EndAll();
  // Whether one is under way: gRPC has not taken its status yet.
  bool has_any();

 private:
  struct Running {
    std::string request_id;
    std::string owner;  // name of the key; "" without keys
    std::weak_ptr<SessionCall> call;
  };

  absl::Mutex mutex_;
  std::vector<Running> running_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::gateway
