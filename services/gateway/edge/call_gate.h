#pragma once

// What every generating call of the gateway's gRPC port passes before its session begins: key,
// drain, model, body. No header of gRPC shows here.

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/entropy.h"
#include "services/gateway/api/request_reader.h"
#include "services/gateway/keys/access.h"
#include "services/gateway/keys/key_store.h"
#include "services/gateway/session/generation_session.h"

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace tessera::gateway {

struct InferenceRooms {
  SessionRooms sessions;                 // borrowed, as in SessionRooms
  KeyStore* keys = nullptr;              // borrowed; null: everything is open
  std::vector<std::string> model_names;  // not empty; all are understood
  RequestLimits limits;
  std::string version;  // of the program
};

// Thread-safe.
class CallGate {
 public:
  explicit CallGate(InferenceRooms rooms) : rooms_(std::move(rooms)) {}

  // The key of a call's metadata; stays null without a key file. Errors are those of CheckAccess.
  absl::Status Identify(const grpc::CallbackServerContext& context, RouteClass route,
                        std::shared_ptr<const ApiKey>& key) const;
  // As tessera::gateway::ResolveModel.
  absl::StatusOr<std::string> ResolveModel(const std::string& name, const ApiKey* key) const {
    return gateway::ResolveModel(rooms_.model_names, key, name);
  }
  // Identify, the body as of `dialect`, its model, and Prepare; the call's deadline counts as the
  // request's, its metadata's traceparent as the request's trace. Errors are theirs, and the body's
  // for whom the key lets in; kUnavailable after Drain.
  absl::StatusOr<PreparedRequest> Read(const grpc::CallbackServerContext& context,
                                       ApiDialect dialect, absl::StatusOr<std::string> body,
                                       std::shared_ptr<const ApiKey>& key) const;
  // The client's x-request-id, or `wanted`, or a new one.
  std::string RequestIdOf(const grpc::CallbackServerContext& context,
                          const std::string& wanted = "");

  // New requests are refused from now on.
  void Drain() { draining_ = true; }
  bool is_open() const { return !draining_ && rooms_.sessions.pool.NotReadyReasons().empty(); }

  const InferenceRooms& rooms() const { return rooms_; }

 private:
  const InferenceRooms rooms_;
  std::atomic<bool> draining_{false};
  const uint64_t id_seed_ = FreshNumber();  // names differ between processes, too
  std::atomic<uint64_t> next_id_{0};
};

}  // namespace tessera::gateway
