#pragma once

// The config files of the services of one box (protos/tessera/config/v1), as JSON text.

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace tessera::cli {

// What all services of a cluster have in common.
struct ClusterSettings {
  std::string model;        // absolute
  std::string secret_file;  // empty: none
  bool strict = false;
  std::string transport = "shm";  // shm, ucx, grpc, loopback (services of one process)
  std::string isa = "auto";
  std::string precision = "fast";
  std::string expert_dtype = "auto";
  std::string dense_dtype = "auto";
  std::string weights = "packed";
};

// What a service would refuse when it starts, found before one is started.
//   kInvalidArgument     names the flag of `tessera up`, and what there is instead
//   kFailedPrecondition  this CPU lacks the instruction set
absl::Status CheckSettings(const ClusterSettings& settings);

struct RouterSettings {
  std::string grpc_listen;
  std::string admin_listen;
  std::string endpoints_file;
  size_t threads = 0;
  size_t replicas = 1;         // live copies of every expert it cares for
  std::string record_routing;  // file; empty: none
};
std::string RouterConfigText(const ClusterSettings& cluster, const RouterSettings& router);

struct ShardSettings {
  size_t shard_id = 0;
  size_t shard_count = 1;
  size_t replicas = 1;
  std::vector<std::string> router_addresses;
  std::string endpoints_file;
  size_t threads = 0;
  int slots_spare = -1;  // for experts of lost shards; -1: the shard's own choice
};
// Every listener at a free port of 127.0.0.1; a loopback is named after the shard.
std::string ShardConfigText(const ClusterSettings& cluster, const ShardSettings& shard);

struct GatewaySettings {
  std::string http_listen;
  std::string grpc_listen;
  std::string admin_listen;
  std::vector<std::string> router_addresses;
  std::string endpoints_file;
};
std::string GatewayConfigText(const ClusterSettings& cluster, const GatewaySettings& gateway);

}  // namespace tessera::cli
