#pragma once

// inference.GRPCInferenceService: the Open Inference Protocol's six calls, for what speaks to every
// model server alike. No header of gRPC shows here.

#include <memory>
#include <string>

#include "services/gateway/edge/call_gate.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace tessera::gateway {

// Thread-safe. Outlives the server it is registered with.
class KserveService {
 public:
  explicit KserveService(InferenceRooms rooms);
  ~KserveService();

  grpc::Service* service();
  static std::string Name();  // "inference.GRPCInferenceService"
  // As of InferenceService.
  void Drain();
  void EndCalls();
  void Stop();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::gateway
