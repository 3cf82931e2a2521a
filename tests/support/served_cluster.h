#pragma once

// Gateway, router and expert shards in one process, each as its program builds it, serving a tiny
// model over HTTP; their calls are handed over in memory.
//
//   auto cluster = ServedCluster::Start({.shard_count = 2});
//   Fetch((*cluster)->http_port(), RawGet("/v1/experts/load"));

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/transport/transport_loopback.h"
#include "services/expert_shard/expert_shard_server.h"
#include "services/gateway/gateway_server.h"
#include "services/router/router_server.h"
#include "tests/support/temp_folder.h"

namespace tessera::testing {

struct ServedClusterOptions {
  uint32_t shard_count = 2;
  uint32_t replicas = 1;
  // Lines of the services' config files on top of what a test cluster needs, as in
  // "\"expert_metrics\": true"; may be empty.
  std::string gateway_config;
  std::string router_config;
  std::string otlp_endpoint;  // of all services; "": none
};

// Thread-compatible.
class ServedCluster {
 public:
  // Returns when gateway and router are ready.
  static absl::StatusOr<std::unique_ptr<ServedCluster>> Start(const ServedClusterOptions& options);
  ~ServedCluster();

  int http_port() const { return gateway_->http_port(); }
  // Where /metrics is: "host:port".
  std::string gateway_admin() const { return gateway_->admin_address(); }
  std::string router_admin() const { return router_->admin_address(); }
  std::string shard_admin(uint32_t shard) const { return shards_[shard]->admin_address(); }

  // At once, without a word, as a process that is killed.
  void KillShard(uint32_t shard) { shards_[shard].reset(); }
  void DrainShard(uint32_t shard);
  absl::Status StartShard(uint32_t shard);

  // The whole /metrics page of an admin listener, or another page of it.
  static std::string Page(const std::string& admin_address, const std::string& path = "/metrics");
  // Posts a completion of `tokens` new tokens for `prompt` (token ids), and returns the status.
  // `headers`: lines that end in "\r\n".
  int Complete(const std::vector<int>& prompt, int tokens, const std::string& headers = "") const;

 private:
  explicit ServedCluster(const ServedClusterOptions& options) : options_(options) {}
  absl::Status StartRouter();
  absl::Status StartGateway();

  const ServedClusterOptions options_;
  const TempFolder folder_;
  const RealClock clock_;
  const std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, /*seed=*/1);
  std::vector<std::unique_ptr<expert_shard::ExpertShardServer>> shards_;
  std::unique_ptr<router::RouterServer> router_;
  std::unique_ptr<gateway::GatewayServer> gateway_;
};

}  // namespace tessera::testing
