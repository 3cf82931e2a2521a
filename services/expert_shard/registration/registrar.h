#pragma once

// Tells routers what this shard holds and how it is.
//
//               answered                    answered
//   Register ───────────────► Heartbeat ──────────────┐ every heartbeat_interval_ms
//     ▲  ▲ refused, gone:        │  ▲                 │
//     │  └─ wait, longer         │  └─────────────────┘
//     └──── NOT_FOUND ◄──────────┘ gone: wait, longer
//
// The answer to a heartbeat may grant a pause: a shard without calls is heard of less often. What
// it holds is told at once all the same. Every router address is told; the one that leads accepts,
// the others refuse until they do.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/tls_files.h"
#include "common/wire/model_identity_wire.h"
#include "common/wire/placement_wire.h"
#include "services/expert_shard/registration/shard_report.h"

namespace tessera::expert_shard {

struct RegistrarConfig {
  std::vector<std::string> router_addresses;  // host:port of gRPC; may be empty
  wire::ModelIdentity model;
  wire::ShardDescriptor shard;  // `state` and what it holds come from the reports
  ClusterSecret secret;
  TlsFiles tls;
  // Pauses after a failure grow from the first to the second, shortened by up to half at random.
  absl::Duration pause_first = absl::Milliseconds(50);
  absl::Duration pause_max = absl::Seconds(1);
  absl::Duration rpc_timeout = absl::Seconds(2);  // of Greet, Register and Heartbeat
};

// Called with each placement epoch a router tells.
using EpochSink = std::function<void(Epoch)>;

// Thread-safe. One thread a router, which mostly sleeps.
class Registrar {
 public:
  // Begins to register. Errors are those of the TLS files.
  static absl::StatusOr<std::unique_ptr<Registrar>> Start(const RegistrarConfig& config,
                                                          ReportSource reports, EpochSink epochs);
  ~Registrar();  // Stop

  // Something changed: the next heartbeat goes out now.
  void Hurry();
  // Asks the routers that accepted this shard to take it out of the map; returns when they have, or
  // after `timeout`. The reports should go on to say ready meanwhile: what says draining leaves the
  // map at once, whether others hold its units or not.
  //   kResourceExhausted             no other shard has room for what it alone holds
  //   kDeadlineExceeded, kUnavailable  not all of them did
  absl::Status Drain(absl::Duration timeout);
  // How many routers know this shard now.
  size_t registered_count() const;
  // Tells nobody anything any more.
  void Stop();

 private:
  class Link;
  Registrar();
  std::atomic<uint64_t> sequence_ = 0;  // of the last heartbeat to any router
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace tessera::expert_shard
