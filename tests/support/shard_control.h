#pragma once

// A router's side of a shard's control plane, for tests: blocking calls, plain structs.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/cluster_secret.h"
#include "common/wire/hello_wire.h"
#include "common/wire/model_identity_wire.h"
#include "common/wire/placement_wire.h"

namespace tessera::testing {

// What a router asks for in OpenSession.
struct SessionWish {
  wire::ModelIdentity model;
  uint32_t session = 1;
  uint32_t credits = 2;
  uint32_t rows_max = 512;
  bool strict = false;
  wire::RowDType rows_up = wire::RowDType::kF32;
  wire::RowDType rows_down = wire::RowDType::kF32;
};

// What it got, and the greeting that follows from it.
struct OpenedSession {
  std::string data_address;
  wire::ModelIdentity model;  // the shard's
  wire::Hello hello;
};

struct ShardCounts {
  wire::ShardState state = wire::ShardState::kLoading;
  uint64_t incarnation = 0;
  uint64_t calls = 0;
  uint64_t unit_rows = 0;  // summed over units
  size_t units = 0;
};

class ShardControl {
 public:
  explicit ShardControl(const std::string& grpc_address, ClusterSecret secret = {});
  ~ShardControl();

  absl::StatusOr<OpenedSession> OpenSession(SessionWish wish);
  // Returns all the shard holds then. `peer`: the gRPC address of a shard that holds what is
  // loaded.
  absl::StatusOr<std::vector<wire::HeldUnit>> LoadExperts(std::span<const wire::HeldUnit> load,
                                                          std::span<const wire::HeldUnit> drop,
                                                          const std::string& peer = "");
  // Orders it at a byte a second, and does not wait for the end.
  absl::Status LoadAndGiveUp(std::span<const wire::HeldUnit> load,
                             std::span<const wire::HeldUnit> drop, absl::Duration after);
  absl::StatusOr<ShardCounts> Stats();
  // OpenSession without a proof.
  absl::Status OpenUnproven();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera::testing
