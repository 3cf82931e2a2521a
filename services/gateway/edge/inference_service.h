#pragma once

// tessera.v1.Inference: the gateway's own gRPC. No header of gRPC shows here.

#include <memory>
#include <string>

#include "services/gateway/edge/call_gate.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace tessera::gateway {

// Thread-safe. Outlives the server it is registered with.
class InferenceService {
 public:
  explicit InferenceService(InferenceRooms rooms);
  ~InferenceService();

  grpc::Service* service();
  static std::string Name();  // "tessera.v1.Inference"
  // New requests are refused, kUnavailable.
  void Drain();
  // Ends the calls under way, kUnavailable.
  void EndCalls();
  // Ends the sessions' thread; after the server has stopped.
  void Stop();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::gateway
