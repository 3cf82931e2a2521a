#pragma once

// Expert shards, the network to them and the directory over them, in one thread and on a clock that
// only moves when somebody waits: a run repeats exactly from its seed.
//
//   Dispatcher ─Wait─► SimulatedCluster: let shards take and answer calls, loads and reconnections
//                      come due; if nothing happened, move the clock to the next thing that will

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/moe/placement.h"
#include "common/transport/exchange_client.h"
#include "common/transport/exchange_server.h"
#include "common/transport/transport_loopback.h"
#include "services/router/cluster/shard_directory.h"
#include "tests/support/fake_clock.h"

namespace tessera::testing {

// One expert on one row: out [d_model] = weight * expert(row).
using ExpertFunction =
    std::function<void(LayerIndex layer, ExpertId expert, std::span<const float> row, float weight,
                       std::span<float> out)>;
// A plain one with numbers that do not add up exactly.
void WavyExpert(LayerIndex layer, ExpertId expert, std::span<const float> row, float weight,
                std::span<float> out);

struct SimulatedClusterConfig {
  uint64_t seed = 1;
  size_t shard_count = 2;
  size_t replicas = 1;  // expert e is on shards e*S/E and the following ones
  size_t layer_count = 2;
  wire::FrameGeometry geometry = {.d_model = 8,
                                  .layer_count = 2,
                                  .expert_count = 8,
                                  .rows_max = 64,
                                  .pairs_max = 256,
                                  .dtype_up = wire::RowDType::kF32,
                                  .dtype_down = wire::RowDType::kF32,
                                  .strict = false};
  uint32_t credits = 3;
  absl::Duration compute = absl::Microseconds(200);  // of a call
  // A lost shard is connected to again, and started again if it died, after this. Infinite: never.
  absl::Duration reconnect_after = absl::InfiniteDuration();
  // Units that are asked for are loaded by a live shard in this time. Infinite: never.
  absl::Duration load_after = absl::InfiniteDuration();
  ExpertFunction expert = WavyExpert;
};

class SimulatedShard {
 public:
  struct Unit {
    uint32_t slot = 0;
    uint64_t version = 1;
  };
  SimulatedShard(ShardId id, const SimulatedClusterConfig& config, FakeClock& clock,
                 LoopbackNetwork& network);
  ~SimulatedShard();

  void Start();  // a new process
  void Stop();   // it dies
  bool running() const { return server_ != nullptr; }
  // Takes what came, answers what is done. True if anything was answered. With a timeout it waits
  // for a call or an interruption first, while another thread connects.
  bool Pump(absl::Duration timeout = absl::ZeroDuration());
  absl::Duration NextDue() const;
  ExchangeServer& server() { return *server_; }
  std::string name() const;

  std::map<std::pair<LayerIndex, ExpertId>, Unit> units;
  std::deque<wire::NackReason> refuse_next;  // instead of computing
  std::optional<absl::Duration> compute;     // instead of the config's
  uint64_t calls_computed = 0;
  std::vector<wire::FrameHeader> seen;              // headers of calls taken
  std::vector<std::optional<TraceContext>> traces;  // of the same calls

 private:
  struct Job {
    absl::Duration due;
    IncomingCall call;
  };
  void Answer(IncomingCall call);
  void Compute(const IncomingCall& call);
  wire::NackReason Check(const wire::CallView& call) const;

  const ShardId id_;
  const SimulatedClusterConfig& config_;
  FakeClock& clock_;
  LoopbackNetwork& network_;
  uint64_t incarnation_ = 0;
  std::unique_ptr<ExchangeServer> server_;
  std::deque<Job> jobs_;
  std::vector<IncomingCall> arrived_;
};

// The directory and everything behind it. Owned by the one thread of a test.
class SimulatedCluster final : public router::ShardDirectory {
 public:
  explicit SimulatedCluster(const SimulatedClusterConfig& config);
  ~SimulatedCluster() override;

  FakeClock& clock() { return clock_; }
  LoopbackNetwork& network() { return *network_; }
  ExchangeClient& exchange() { return *exchange_; }
  SimulatedShard& shard(size_t i) { return *shards_[i]; }
  size_t shard_count() const { return shards_.size(); }
  uint32_t credits() const { return config_.credits; }

  // What DispatchRooms::wait is to be.
  void Wait(absl::Duration timeout, std::vector<ExchangeEvent>& events);
  // Lets time pass without anybody waiting.
  void Pass(absl::Duration time);
  // The process dies, or stands still until Resume.
  void Kill(size_t shard) { shards_[shard]->Stop(); }
  void Hang(size_t shard);
  void Resume(size_t shard);
  // Adds a copy to shard and placement at once, or takes it from either.
  void AddCopy(LayerIndex layer, ExpertId expert, size_t shard);
  void RemoveFromPlacement(LayerIndex layer, ExpertId expert, size_t shard);
  void Publish();  // a new view
  // At `when`, while somebody waits or time passes.
  void At(absl::Duration when, std::function<void()> action);

  // router::ShardDirectory
  std::shared_ptr<const router::ClusterView> View() const override { return view_; }
  void ReportDown(PeerId peer, const absl::Status& why) override;
  void RequestUnits(LayerIndex layer, std::span<const ExpertId> experts,
                    std::span<const ShardId> unfit) override;

  uint64_t downs_reported = 0;
  uint64_t units_requested = 0;
  std::vector<std::pair<LayerIndex, ExpertId>> requested;

 private:
  void Connect(size_t shard);
  void Reconnect(size_t shard);
  bool PumpAll();  // true if anything happened
  absl::Duration NextDue() const;
  // By the first live shard that does not hold it, `unfit` ones aside.
  void Load(LayerIndex layer, ExpertId expert, const std::vector<ShardId>& unfit);

  const SimulatedClusterConfig config_;
  FakeClock clock_;
  const std::shared_ptr<LoopbackNetwork> network_;
  std::unique_ptr<ExchangeClient> exchange_;
  std::vector<std::unique_ptr<SimulatedShard>> shards_;
  std::vector<std::optional<router::ShardLink>> links_;
  std::vector<bool> hangs_;
  std::vector<PlacedUnit> placed_;
  std::shared_ptr<const router::ClusterView> view_;
  uint64_t epoch_ = 0;
  uint64_t version_ = 0;
  bool view_changed_ = false;
  std::multimap<absl::Duration, std::function<void()>> actions_;
  std::map<std::pair<LayerIndex, ExpertId>, bool> loading_;
};

}  // namespace tessera::testing
