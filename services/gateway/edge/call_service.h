#pragma once

// What the services of the gateway's gRPC port have in common, whatever protocol they speak: a gate
// that calls pass, the calls under way, and the thread their sessions live on. No header of gRPC
// shows here.

#include <string>
#include <utility>

#include "services/gateway/edge/call_gate.h"
#include "services/gateway/edge/session_call.h"
#include "services/gateway/edge/task_thread.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace tessera::gateway {

// Thread-safe. Outlives the server it is registered with.
class CallService {
 public:
  virtual ~CallService() = default;
  CallService(const CallService&) = delete;
  CallService& operator=(const CallService&) = delete;

  virtual grpc::Service& service() = 0;
  virtual std::string name() const = 0;  // with its package, as clients call it

  // New requests are refused, kUnavailable.
  void Drain() { gate_.Drain(); }
  bool has_calls() { return running_.has_any(); }  // under way
  // Ends the calls under way, kUnavailable.
  void EndCalls() { running_.EndAll(); }
  // Ends the sessions' thread; after the server has stopped.
  void Stop() { tasks_.Stop(); }

 protected:
  explicit CallService(InferenceRooms rooms) : gate_(std::move(rooms)) {}

  CallGate gate_;
  CallList running_;
  TaskThread tasks_;  // last: it runs what the others hold
};

}  // namespace tessera::gateway
