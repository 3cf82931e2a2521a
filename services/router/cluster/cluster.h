#pragma once

// The router's room that knows the shards: who they are, what they hold, how this router reaches
// them, and what is done when one goes.
//
//   shards ──Register, Heartbeat──► registry ──placement──► sessions ──view──► dispatch
//                                      ▲  │                    ▲                  │
//                     loads, drops ────┘  └─WatchPlacement─►   └── ReportDown ◄───┤
//                          ▲                 (followers)                          │
//                        repair ◄──────────────── RequestUnits ◄──────────────────┘
//
// A leading router keeps the registry; one with a `leader` takes the leader's placement, has
// sessions of its own, and asks shards directly for units that its own steps wait for (so it needs
// no leader to go on), filling slots from the top where the leader fills from the bottom.
// Background restoring, dropping and draining are the leader's.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/metrics/metrics.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/server.h"
#include "common/rpc/tls_files.h"
#include "common/transport/exchange_client.h"
#include "common/wire/expert_load_wire.h"
#include "common/wire/model_identity_wire.h"
#include "services/router/balance/expert_meter.h"
#include "services/router/cluster/balancer.h"
#include "services/router/cluster/shard_directory.h"

namespace tessera::router {

struct ClusterConfig {
  wire::ModelIdentity model;
  std::vector<LayerIndex> moe_layers;  // ascending; those that have experts
  uint64_t incarnation = 0;            // of this router; > 0, differs for every start
  std::string leader;                  // gRPC address of the leading router; empty: this one leads
  ClusterSecret secret;
  TlsFiles tls;  // towards shards and the leader

  // Sessions with shards.
  std::string data_scheme =
      "ucx";                // "ucx", "shm", "loopback" or "grpc": of the ExchangeClient's transport
  uint32_t credits = 4;     // calls in flight to one shard
  uint32_t rows_max = 512;  // of a call, 1..65536
  wire::RowDType dtype_up = wire::RowDType::kBF16;
  wire::RowDType dtype_down = wire::RowDType::kF32;
  bool strict = false;

  // Life of shards (leader).
  // Of shards without calls, up to a second while nobody looks at them; their silence may then last
  // as much longer. Data connections have their own, shorter times.
  absl::Duration heartbeat_interval = absl::Milliseconds(250);
  absl::Duration lost_after = absl::Seconds(1);  // > heartbeat_interval
  // And what reading may take: of the units the shard alone holds, and of an order under way.
  absl::Duration drain_timeout = absl::Seconds(60);

  // Repair.
  uint32_t copies_wanted = 1;  // of each expert; >= 1
  bool restore_lost = true;    // leader: load what has no copy before a step asks for it
  bool restore_thin = true;    // leader: also what has fewer than copies_wanted, after
  absl::Duration restore_thin_after = absl::Seconds(10);
  absl::Duration restore_after = absl::Milliseconds(500);
  uint32_t restore_bytes_per_second_max = 0;  // of each shard's reading in the background; 0: any
  absl::Duration surplus_grace = absl::Seconds(10);  // before a copy made in need goes again

  // Balance (leader); copies_min is copies_wanted.
  BalancerConfig balance;
};

// Thread-safe; has a thread "cluster" and one for each shard. Order of the end: Stop, then stop the
// RpcServer that serves services(), then destroy this, then the exchange.
class Cluster {
 public:
  // `exchange`, `clock` and `metrics` must outlive it. kInvalidArgument naming a bad field.
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(ClusterConfig config,
                                                        ExchangeClient& exchange,
                                                        const Clock& clock, Registry& metrics);
  ~Cluster();

  // Lives as long as this.
  ShardDirectory& directory();
  // tessera.v1.Cluster, for the router's RpcServer.
  std::vector<NamedService> services();

  // OK if every expert of every MoE layer has a live copy that this router is linked to; else
  // kUnavailable with how many lack one, and the first.
  absl::Status Coverage() const;
  // Waits for it. kUnavailable as above after `timeout`, or when stopped.
  absl::Status WaitUntilCovered(absl::Duration timeout) const;
  // Waits for a view newer than `version`: whatever Coverage may have to say anew comes with one.
  // False: `timeout` passed or stopped.
  bool AwaitViewAfter(uint64_t version, absl::Duration timeout) const;

  // Every shard that is there, or was lost, as it looked in the last round: 100 ms while somebody
  // asks every few seconds, else 250 ms. Ascending; layer_rows are empty.
  std::vector<wire::ShardActivity> ShardActivities() const;

  // Brings gauges that are about the present up to date; before the metrics are read.
  void RefreshMetrics();
  // Where the dispatcher counts. Lives as long as this.
  ExpertMeter& meter();
  // JSON for operators, see balance_report.h.
  std::string BalanceReport() const;
  // Frozen, the balancer begins no round by itself and ends the one under way as soon as it can.
  // kFailedPrecondition: this router follows.
  absl::Status FreezeBalance(bool frozen);
  // A look at the balance now; with `moves` a round whatever the threshold says, though frozen.
  // kFailedPrecondition: this router follows.
  absl::Status TriggerBalance(bool moves);

  // Ends streams, drains (kUnavailable), sessions and threads, within a second.
  void Stop();

 private:
  class Impl;
  explicit Cluster(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::router
