#pragma once

// What tests of the cluster share: a model, a secret, slices of experts, the caller's side of
// tessera.v1.Cluster.

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/rpc_status.h"
#include "common/wire/model_identity_wire.h"
#include "common/wire/placement_wire.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "tessera/v1/cluster.grpc.pb.h"

namespace tessera::router {

inline wire::ModelIdentity TestModel() {
  return {.model_hash = wire::HashText(77),
          .d_model = 64,
          .layer_count = 3,
          .expert_count = 4,
          .expert_width = 16,
          .top_k = 2,
          .expert_dtype = "bf16",
          .kernel_level = "avx2"};
}
inline std::vector<LayerIndex> TestMoeLayers() { return {LayerIndex{1}, LayerIndex{2}}; }

inline ClusterSecret TestSecret(const std::string& text = "the secret of the tests") {
  return *ClusterSecret::FromText(text);
}

// Experts [first, last) of both MoE layers, in slots from 0 on.
inline std::vector<wire::HeldUnit> Slice(uint32_t first, uint32_t last) {
  std::vector<wire::HeldUnit> held;
  for (const LayerIndex layer : TestMoeLayers()) {
    for (uint32_t e = first; e < last; ++e) {
      held.push_back({layer, ExpertId{e}, static_cast<uint32_t>(held.size()), 1});
    }
  }
  return held;
}

// The caller's side of tessera.v1.Cluster.
class ClusterClient {
 public:
  ClusterClient(const std::string& address, ClusterSecret secret)
      : secret_(std::move(secret)),
        stub_(v1::Cluster::NewStub(
            *MakeChannel({.address = address, .reconnect_min = absl::Seconds(5)}))) {}

  absl::Status AddProof(v1::Proof& proof) {
    return Prove(
        secret_,
        [&](const v1::GreetRequest& request, v1::GreetReply& reply) {
          grpc::ClientContext context;
          SetTimeout(context, absl::Seconds(10));
          return FromGrpc(stub_->Greet(&context, request, &reply));
        },
        proof);
  }
  // As a shard does it.
  void Seal(v1::HeartbeatRequest& request) {
    request.set_sequence(++sequence_);
    request.set_seal(SealOf(secret_, request.SerializeAsString()));
  }
  template <typename Request, typename Reply>
  absl::Status Call(grpc::Status (v1::Cluster::Stub::*method)(grpc::ClientContext*, const Request&,
                                                              Reply*),
                    const Request& request, Reply& reply) {
    grpc::ClientContext context;
    SetTimeout(context, absl::Seconds(20));
    return FromGrpc((stub_.get()->*method)(&context, request, &reply));
  }
  v1::Cluster::Stub& stub() { return *stub_; }

 private:
  const ClusterSecret secret_;
  const std::unique_ptr<v1::Cluster::Stub> stub_;
  std::atomic<uint64_t> sequence_ = 0;
};

}  // namespace tessera::router
