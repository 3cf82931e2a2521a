#pragma once

// What a router is told: the config message as structs of its rooms.

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/concurrency/idle_poll.h"
#include "common/rpc/tls_files.h"
#include "common/tracing/tracer.h"
#include "common/transport/transport_ucx.h"
#include "services/router/assembly/router_rooms.h"
#include "services/router/cluster/balancer.h"
#include "services/router/dispatch/dispatch_config.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace tessera::router {

// protos/tessera/config/v1/router.proto; the comments of the fields stand there.
struct RouterConfig {
  std::string model;
  std::string grpc_listen;
  std::string grpc_advertise;
  std::string admin_listen;
  std::string cluster_secret_file;
  TlsFiles tls;
  std::string leader;  // empty: this one leads
  ComputeConfig compute;
  CapacityConfig capacity;
  DispatchConfig dispatch;  // strict counts for the cluster as well
  IdlePolling idle_poll = IdlePolling::kAuto;
  std::string transport;  // "ucx", "shm", "grpc", "loopback"
  UcxConfig ucx;
  uint32_t credits = 0;
  uint32_t rows_max = 0;
  uint32_t copies_wanted = 0;
  BalancerConfig balance;
  std::string record_routing;
  uint64_t record_routing_bytes_max = 0;
  absl::Duration heartbeat_interval;
  absl::Duration silence_max;
  absl::Duration drain_max;
  absl::Duration experts_wait_max;
  bool expert_metrics = false;
  TracerConfig tracing{.resource = {.service = "tessera-router"}};
};

// A tessera.config.v1.Router with its defaults.
std::shared_ptr<google::protobuf::Message> DefaultRouterMessage();
// `message` is a tessera.config.v1.Router. kInvalidArgument naming the field, its value and what it
// may be.
absl::StatusOr<RouterConfig> ToRouterConfig(const google::protobuf::Message& message);

}  // namespace tessera::router
