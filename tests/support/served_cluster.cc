#include "tests/support/served_cluster.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/config/config_file.h"
#include "services/router/router_config.h"
#include "tests/support/raw_http.h"
#include "tests/support/tiny_tokenizer.h"
#include "tests/support/wait_until.h"

namespace tessera::testing {
namespace {

std::string With(std::string fields, const std::string& more) {
  if (!more.empty()) absl::StrAppend(&fields, ",\n", more);
  return absl::StrCat("{", fields, "}");
}

std::string OtlpField(const std::string& endpoint) {
  return absl::StrCat(",\"otlp_endpoint\": \"", endpoint, "\"");
}

int PortOf(const std::string& address) {
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServedCluster>> ServedCluster::Start(
    const ServedClusterOptions& options) {
  std::unique_ptr<ServedCluster> cluster(new ServedCluster(options));
  WriteTinyServedModel(TinyServedSpec(), cluster->folder_.path());
  TESSERA_RETURN_IF_ERROR(cluster->StartRouter());
  cluster->shards_.resize(options.shard_count);
  for (uint32_t shard = 0; shard < options.shard_count; ++shard) {
    TESSERA_RETURN_IF_ERROR(cluster->StartShard(shard));
  }
  TESSERA_RETURN_IF_ERROR(cluster->StartGateway());
  const bool ready = WaitUntil([&] {
    return cluster->gateway_->ReadinessReasons().empty() &&
           cluster->router_->NotReadyReasons().empty();
  });
  if (!ready) return absl::DeadlineExceededError("the cluster does not become ready");
  return cluster;
}

ServedCluster::~ServedCluster() {
  if (gateway_ != nullptr) gateway_->Stop();
  gateway_.reset();
  if (router_ != nullptr) router_->Stop();
  router_.reset();
}

absl::Status ServedCluster::StartRouter() {
  const auto message = router::DefaultRouterMessage();
  TESSERA_RETURN_IF_ERROR(MergeConfigText(
      With(absl::StrCat("\"model\": \"", folder_.path(),
                        "\",\n\"grpc_listen\": \"127.0.0.1:0\", \"admin_listen\": \"127.0.0.1:0\","
                        "\"compute\": {\"threads\": 1}, \"kv_bytes\": 16777216,"
                        "\"membership\": {\"transport\": \"loopback\"}, \"drain_seconds\": 1",
                        OtlpField(options_.otlp_endpoint)),
           options_.router_config),
      *message));
  TESSERA_ASSIGN_OR_RETURN(const router::RouterConfig config, router::ToRouterConfig(*message));
  TESSERA_ASSIGN_OR_RETURN(
      router_, router::RouterServer::Start(config, clock_, {network_->MakeTransport()}));
  return absl::OkStatus();
}

absl::Status ServedCluster::StartShard(uint32_t shard) {
  expert_shard::ExpertShardConfig config;
  config.model = folder_.path();
  config.slice = {shard, options_.shard_count, options_.replicas};
  config.grpc_listen = "127.0.0.1:0";
  config.admin_listen = "127.0.0.1:0";
  config.data_listen = absl::StrCat("loopback:expert-", shard);
  config.router_addresses = {router_->grpc_address()};
  config.compute.threads = 1;
  config.drain_max = absl::Seconds(1);
  config.tracing.endpoint = options_.otlp_endpoint;
  expert_shard::ExpertShardParts parts;
  parts.loopback = network_;
  TESSERA_ASSIGN_OR_RETURN(
      shards_[shard], expert_shard::ExpertShardServer::Start(config, clock_, std::move(parts)));
  return absl::OkStatus();
}

absl::Status ServedCluster::StartGateway() {
  const auto message = gateway::GatewayDefaults();
  TESSERA_RETURN_IF_ERROR(MergeConfigText(
      With(absl::StrCat("\"model\": \"", folder_.path(), "\", \"served_model_name\": [\"tiny\"],",
                        "\"http_listen\": \"127.0.0.1:0\", \"grpc_listen\": \"127.0.0.1:0\",",
                        "\"admin_listen\": \"127.0.0.1:0\", \"router_addresses\": [\"",
                        router_->grpc_address(), "\"], \"drain_seconds\": 1",
                        OtlpField(options_.otlp_endpoint)),
           options_.gateway_config),
      *message));
  TESSERA_ASSIGN_OR_RETURN(const gateway::GatewayConfig config, gateway::ToGatewayConfig(*message));
  TESSERA_ASSIGN_OR_RETURN(gateway_, gateway::GatewayServer::Start(config, clock_));
  return absl::OkStatus();
}

void ServedCluster::DrainShard(uint32_t shard) {
  shards_[shard]->Stop();
  shards_[shard].reset();
}

std::string ServedCluster::Page(const std::string& admin_address, const std::string& path) {
  const RawReply reply = Fetch(PortOf(admin_address), RawGet(path));
  return reply.status == 200 ? reply.body : absl::StrCat("status ", reply.status);
}

int ServedCluster::Complete(const std::vector<int>& prompt, int tokens,
                            const std::string& headers) const {
  const std::string body = absl::StrCat(R"({"model":"tiny","prompt":[)", absl::StrJoin(prompt, ","),
                                        R"(],"max_tokens":)", tokens, R"(,"ignore_eos":true})");
  return Fetch(http_port(), RawPost("/v1/completions", body, headers)).status;
}

}  // namespace tessera::testing
