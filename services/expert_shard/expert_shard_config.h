#pragma once

// What a shard is told at its start: protos/tessera/config/v1/expert_shard.proto as plain structs.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/tls_files.h"
#include "common/tracing/tracer.h"
#include "common/transport/transport_ucx.h"
#include "services/expert_shard/experts/base_units.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace tessera::expert_shard {

// With what it computes; words as `tessera bench` has them.
struct ComputeConfig {
  uint32_t threads = 0;               // 0: as many as this process may use
  std::string isa = "auto";           // auto, avx2, avx512, amx
  std::string precision = "fast";     // float32, fast
  std::string expert_dtype = "auto";  // auto, f32, bf16, q8, q4
  std::string weights = "packed";     // packed, mapped
};

// Field by field as the proto says.
struct ExpertShardConfig {
  std::string model;
  BaseSlice slice;
  bool draw_shard_id = false;
  int32_t slots_spare = -1;
  std::string grpc_listen = "127.0.0.1:8020";
  std::string grpc_advertise;
  std::string admin_listen = "127.0.0.1:8022";
  std::string data_listen = "ucx:127.0.0.1:8021";
  std::string data_advertise;
  std::string cluster_secret_file;
  TlsFiles tls;
  std::vector<std::string> router_addresses;
  ComputeConfig compute;
  uint32_t credits_max = 4;
  uint32_t rows_max = 2048;
  uint32_t routers_max = 128;
  std::string zone;
  absl::Duration drain_max = absl::Seconds(3);
  UcxConfig ucx;
  TracerConfig tracing{.resource = {.service = "tessera-expert"}};

  // kInvalidArgument naming the field, what it is and what it may be.
  absl::Status Validate() const;
};

// Ids that draw_shard_id draws from, beginning at shard_count. Few, as routers keep metrics by id.
inline constexpr uint32_t kDrawnIds = 1024;
// The config with the id that `random` chooses, if it asks for one.
ExpertShardConfig WithDrawnId(ExpertShardConfig config, uint64_t random);

// The message with all defaults, for RunMain.
std::shared_ptr<google::protobuf::Message> ExpertShardDefaults();
// Reads a config::v1::ExpertShard and validates it.
absl::StatusOr<ExpertShardConfig> ToExpertShardConfig(const google::protobuf::Message& message);

}  // namespace tessera::expert_shard
