#include "tests/support/shard_fleet.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::testing {

using expert_shard::ExpertShardConfig;
using expert_shard::ExpertShardServer;

ShardFleet::ShardFleet(std::string model_dir, ShardFleetOptions options, const Clock& clock,
                       std::shared_ptr<LoopbackNetwork> network)
    : model_dir_(std::move(model_dir)),
      options_(std::move(options)),
      clock_(clock),
      network_(std::move(network)) {}

std::string ShardFleet::NameOf(size_t index) { return absl::StrCat("shard-", index); }

absl::Status ShardFleet::StartAll() {
  for (size_t i = 0; i < options_.shard_count; ++i) TESSERA_RETURN_IF_ERROR(Start(i));
  return absl::OkStatus();
}

absl::Status ShardFleet::Start(size_t index) {
  ExpertShardConfig config;
  const auto own = options_.model_dirs.find(index);
  config.model = own == options_.model_dirs.end() ? model_dir_ : own->second;
  config.slice = {static_cast<uint32_t>(index), options_.shard_count, options_.replicas};
  config.slots_spare = options_.slots_spare;
  config.grpc_listen = "127.0.0.1:0";
  config.admin_listen = "";
  const std::string& scheme = options_.data_scheme;
  const bool sockets = scheme == "ucx" || scheme == "grpc";
  config.data_listen = absl::StrCat(scheme, ":",
                                    scheme == "loopback" ? NameOf(index)
                                    : sockets            ? "127.0.0.1:0"
                                                         : "");
  config.cluster_secret_file = options_.cluster_secret_file;
  config.router_addresses = options_.router_addresses;
  config.compute = options_.compute;
  config.drain_max = options_.drain_max;
  if (shards_.size() <= index) shards_.resize(index + 1);
  shards_[index].reset();
  TESSERA_ASSIGN_OR_RETURN(
      shards_[index], ExpertShardServer::Start(
                          config, clock_, {.loopback = network_, .exchange = options_.exchange}));
  return absl::OkStatus();
}

void ShardFleet::Stop(size_t index) {
  shard(index).Stop();
  shards_[index].reset();
}

void ShardFleet::Kill(size_t index) {
  network_->Kill(NameOf(index));
  shards_.at(index).reset();
}

void ShardFleet::Hang(size_t index) { network_->Hang(NameOf(index)); }
void ShardFleet::Resume(size_t index) { network_->Resume(NameOf(index)); }

}  // namespace tessera::testing
