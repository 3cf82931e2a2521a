#pragma once

// STATE_DIR/cluster.json: which processes a running cluster has and where they listen.
//
//   {"processes":[{"role":"router","id":"router-0","pid":7,"grpc":"127.0.0.1:8010",...},...]}

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::cli {

struct ClusterProcess {
  std::string role;  // "gateway", "router" or "expert"
  std::string id;    // "expert-0"; unique
  int pid = 0;
  // Name and host:port, without scheme: ("grpc", "127.0.0.1:8010"), ("admin", ...), ("http", ...).
  std::vector<std::pair<std::string, std::string>> endpoints;

  // nullptr if it has no such endpoint.
  const std::string* Endpoint(const std::string& name) const;
};

std::string ClusterJson(const std::vector<ClusterProcess>& processes);

// kNotFound: no such file, so no cluster runs there. kInvalidArgument: it is no cluster file.
absl::StatusOr<std::vector<ClusterProcess>> ReadClusterFile(const std::string& path);

// The HTTP address of the gateway of the cluster that runs in a state folder. kNotFound: none runs
// there; kUnavailable: it has no gateway (yet).
absl::StatusOr<std::string> GatewayAddressOf(const std::string& state_dir);

// What a service wrote into its endpoints file, {"pid":7,"grpc":"127.0.0.1:8010",...}; errors as
// above. Role and id are the caller's; the scheme of a data address ("ucx:") is left away.
absl::StatusOr<ClusterProcess> ReadEndpointsFile(const std::string& path);

}  // namespace tessera::cli
