#pragma once

// grpc.health.v1 as gRPC clients know it. Included by server.cc only: it needs gRPC's headers.

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace tessera {

// Ours rather than gRPC's own, which is switched on for a whole process and has no descriptor, so
// that listing services through reflection fails. Thread-safe.
class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  // "" stands for the whole server. A name that was never set is not known (NOT_FOUND).
  void SetServing(const std::string& service, bool serving);
  // Every service is NOT_SERVING from now on, whatever is set later.
  void ShutDown();
  // Ends all watches, each behind the last change, so that a server can stop without waiting for
  // them.
  void EndWatches();

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  using Response = grpc::health::v1::HealthCheckResponse;
  class Watcher;

  void Notify() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Response::ServingStatus StatusOf(const std::string& service) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, bool> serving_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  bool watches_ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tessera
