#pragma once

// What a router asks of one expert shard over gRPC, as blocking calls.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/tls_files.h"
#include "common/wire/expert_wire.h"
#include "common/wire/hello_wire.h"
#include "common/wire/model_identity_wire.h"
#include "common/wire/placement_wire.h"

namespace tessera::router {

// What the router says about itself in OpenSession.
struct SessionOffer {
  wire::ModelIdentity model;
  uint32_t session = 0;  // > 0; the router's incarnation as frames carry it
  uint32_t credits = 4;
  uint32_t rows_max = 512;
  wire::RowDType dtype_up = wire::RowDType::kBF16;
  wire::RowDType dtype_down = wire::RowDType::kF32;
  bool strict = false;
};

struct SessionGrant {
  wire::SessionToken token{};
  std::string data_address;  // with its scheme
  uint64_t incarnation = 0;
  uint32_t credits = 0;   // 1..offered
  uint32_t rows_max = 0;  // 1..offered
};

struct UnitToLoad {
  LayerIndex layer{};
  ExpertId expert{};
  uint32_t slot = 0;
  std::string peer;  // gRPC address of a shard that holds it: asked where the checkpoint fails

  friend bool operator==(const UnitToLoad&, const UnitToLoad&) = default;
};

struct LoadOrder {
  std::vector<UnitToLoad> load;
  std::vector<wire::HeldUnit> drop;   // let go after the loads
  uint32_t bytes_per_second_max = 0;  // 0: as fast as it goes
};

// What `units` units may take a shard to read: twice their bytes as bf16, which are all of an f32
// checkpoint's, at the slower of `bytes_per_second_max` (0: any) and 64 MiB/s.
absl::Duration ReadTimeMax(size_t units, const wire::ModelIdentity& model,
                           uint32_t bytes_per_second_max);

struct LoadOutcome {
  std::vector<wire::HeldUnit> held;  // all the shard holds now
  uint64_t held_version = 0;         // as in heartbeats
  uint64_t read_bytes = 0;
};

// One shard at one address, with a channel of its own. One caller at a time; Cancel from any
// thread.
class ShardCalls {
 public:
  // Connects with the first call. Errors are those of the TLS files.
  static absl::StatusOr<std::unique_ptr<ShardCalls>> Create(const std::string& address,
                                                            const ClusterSecret& secret,
                                                            const TlsFiles& tls);
  ~ShardCalls();

  // Greets and opens a session, both within `timeout`.
  //   kUnauthenticated     one of us does not know the cluster secret
  //   kFailedPrecondition  another model, frame version or kernel level; both values are named
  //   kResourceExhausted   the shard serves as many routers as it may
  //   kDataLoss            an answer outside of the contract
  //   kUnavailable, kDeadlineExceeded, kCancelled
  absl::StatusOr<SessionGrant> OpenSession(const SessionOffer& offer, absl::Duration timeout);
  // kNotFound, kResourceExhausted, kDataLoss, kUnauthenticated, kUnavailable, kDeadlineExceeded,
  // kCancelled.
  absl::StatusOr<LoadOutcome> LoadExperts(const LoadOrder& order, absl::Duration timeout);
  // Ends the call that runs and fails all later ones.
  void Cancel();

 private:
  struct State;
  explicit ShardCalls(std::unique_ptr<State> state);

  const std::unique_ptr<State> state_;
};

}  // namespace tessera::router
