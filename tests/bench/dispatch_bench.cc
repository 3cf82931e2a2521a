// dispatch_bench [layers]
//
// What a layer's Send and Receive cost the engine thread over loopback: two shards of 128 experts,
// top-4, rows of 2048 numbers, echoed by shards that run in this thread, so that no wake-up and no
// expert product is in the figures. One JSON line a case: "send" plans, writes and posts; "all" has
// exchange, shards and the adding up in it too, "step_end" is what follows 46 layers. Needs one
// idle core; the smallest value shows what a busy box hides.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "common/base/check.h"
#include "common/base/random.h"
#include "common/concurrency/thread.h"
#include "common/metrics/metrics.h"
#include "common/tensor/matrix.h"
#include "common/transport/transport_loopback.h"
#include "services/router/dispatch/dispatcher.h"
#include "tests/common/transport/echo_server.h"

namespace tessera::router {
namespace {

constexpr uint32_t kShards = 2;
constexpr uint32_t kExperts = 128;
constexpr size_t kTopK = 4;
constexpr size_t kWidth = 2048;
constexpr size_t kStepLayers = 46;

wire::FrameGeometry Geometry() {
  return {.d_model = kWidth,
          .layer_count = 4,
          .expert_count = kExperts,
          .rows_max = 64,
          .pairs_max = 256,
          .dtype_up = wire::RowDType::kBF16,
          .dtype_down = wire::RowDType::kF32,
          .strict = false};
}

// Shards that answer when they are let, and a view of them that never changes.
class EchoCluster final : public ShardDirectory {
 public:
  EchoCluster() {
    ExchangeConfig config;
    config.progress.thread = false;
    exchange_ = std::make_unique<ExchangeClient>(config, clock_, network_->MakeTransport());
    auto view = std::make_shared<ClusterView>();
    view->version = 1;
    std::vector<PlacedUnit> units;
    for (uint32_t e = 0; e < kExperts; ++e) {
      units.push_back({LayerIndex{0}, ExpertId{e}, {ShardId{e % kShards}, e, 1}});
    }
    view->placement = *Placement::Build(Epoch{1}, {4, kExperts}, units);
    for (uint32_t s = 0; s < kShards; ++s) {
      servers_.push_back(std::make_unique<ExchangeServer>(config, clock_, network_->MakeTransport(),
                                                          AcceptSevens(3)));
      const auto address = servers_.back()->Listen("");
      TESSERA_CHECK(address.ok());
      view->links.push_back(
          ShardLink{ShardId{s}, 1, Connect(*address, *servers_.back()), Geometry()});
    }
    view_ = view;
  }

  void Wait(std::vector<ExchangeEvent>& events) {
    for (auto& server : servers_) {
      server->Wait(absl::ZeroDuration(), calls_);
      for (IncomingCall& call : calls_) {
        EchoRows(call);
        server->Reply(std::move(call), {});
      }
      calls_.clear();
    }
    exchange_->Wait(absl::ZeroDuration(), events);
  }

  std::shared_ptr<const ClusterView> View() const override { return view_; }
  void ReportDown(PeerId, const absl::Status&) override { TESSERA_CHECK(false); }
  void RequestUnits(LayerIndex, std::span<const ExpertId>, std::span<const ShardId>) override {
    TESSERA_CHECK(false);
  }
  ExchangeClient& exchange() { return *exchange_; }
  const Clock& clock() const { return clock_; }

 private:
  PeerId Connect(const std::string& address, ExchangeServer& server) {
    wire::Hello hello;
    hello.session = 1;
    hello.incarnation = 1;
    hello.token.fill(7);
    hello.geometry = Geometry();
    hello.credits = 3;
    PeerId peer{};
    bool connected = false;
    Thread connecting("connect", [&](std::stop_token) {
      const auto answered = exchange_->Connect(address, hello, absl::Seconds(20));
      TESSERA_CHECK(answered.ok());
      peer = *answered;
      server.Interrupt();
    });
    while (server.peer_count() == 0 || !connected) {
      connected = server.Wait(absl::Seconds(20), calls_) == 0;
    }
    connecting.Join();
    return peer;
  }

  RealClock clock_;
  std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, 1);
  std::unique_ptr<ExchangeClient> exchange_;
  std::vector<std::unique_ptr<ExchangeServer>> servers_;
  std::vector<IncomingCall> calls_;
  std::shared_ptr<const ClusterView> view_;
};

double Micros(std::vector<absl::Duration>& times, double share) {
  std::sort(times.begin(), times.end());
  const auto at = static_cast<size_t>(share * static_cast<double>(times.size() - 1));
  return absl::ToDoubleMicroseconds(times[at]);
}

void Measure(size_t rows, size_t layers) {
  EchoCluster cluster;
  Registry registry;
  ExpertMeter meter({LayerIndex{0}}, kExperts);
  Dispatcher dispatcher(
      {}, {cluster.exchange(), cluster, cluster.clock(), registry,
           [&](absl::Duration, std::vector<ExchangeEvent>& events) { cluster.Wait(events); },
           nullptr, &meter});
  Matrix hidden(rows, kWidth);
  Matrix sum(rows, kWidth);
  std::vector<uint32_t> experts;
  for (uint32_t i = 0; i < rows * kTopK; ++i) {  // ascending within a row, on both shards
    experts.push_back(i % kTopK * (kExperts / kTopK) +
                      static_cast<uint32_t>(RandomBits(1, i) % 32));
  }
  const std::vector<float> weights(experts.size(), 0.25f);
  const Routed routed{hidden.view(), {rows, kTopK, experts, weights}};
  std::vector<absl::Duration> send;
  std::vector<absl::Duration> all;
  std::vector<absl::Duration> end;
  for (size_t i = 0; i < layers; ++i) {
    const absl::Duration start = cluster.clock().Elapsed();
    const auto flight = dispatcher.Send(LayerIndex{0}, routed);
    const absl::Duration sent = cluster.clock().Elapsed();
    TESSERA_CHECK(flight.ok() && dispatcher.Receive(*flight, sum.view()).ok());
    send.push_back(sent - start);
    const absl::Duration done = cluster.clock().Elapsed();
    all.push_back(done - start);
    if ((i + 1) % kStepLayers != 0) continue;
    dispatcher.EndStep();
    meter.tally.Commit(done);
    end.push_back(cluster.clock().Elapsed() - done);
  }
  std::printf(
      "{\"case\":\"dispatch\",\"rows\":%zu,\"shards\":%u,\"layers\":%zu,\"send_min_us\":%.1f,"
      "\"send_p50_us\":%.1f,\"all_min_us\":%.1f,\"all_p50_us\":%.1f,\"step_end_min_us\":%.1f,"
      "\"step_end_p50_us\":%.1f}\n",
      rows, kShards, layers, Micros(send, 0), Micros(send, 0.5), Micros(all, 0), Micros(all, 0.5),
      Micros(end, 0), Micros(end, 0.5));
}

// What a step of 46 layers over 8 shards costs in metrics alone: told one by one as they are made,
// or tallied and told at the end.
void MeasureMetrics(size_t steps) {
  constexpr size_t kLayers = 46;
  constexpr uint32_t kStepShards = 8;
  const RealClock clock;
  Registry registry;
  const std::vector<double> bounds = {20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3,
                                      5e-3,  10e-3, 20e-3,  50e-3,  100e-3, 0.25, 1};
  Histogram direct = registry.AddHistogram("tessera_bench_seconds", "Time.", bounds);
  Counter direct_count = registry.AddCounter("tessera_bench_total", "Things.");
  DispatchMetrics metrics(registry);
  std::vector<ShardMetrics> shards;
  for (uint32_t s = 0; s < kStepShards; ++s) shards.emplace_back(registry, ShardId{s});
  std::vector<absl::Duration> one_by_one;
  std::vector<absl::Duration> tallied;
  for (size_t i = 0; i < steps; ++i) {
    const absl::Duration start = clock.Elapsed();
    for (size_t layer = 0; layer < kLayers; ++layer) {
      for (uint32_t s = 0; s < kStepShards; ++s) {
        for (int n = 0; n < 4; ++n) direct_count.Increment();
        for (int n = 0; n < 3; ++n) direct.Observe(150e-6);
      }
      for (int n = 0; n < 5; ++n) direct_count.Increment();
      for (int n = 0; n < 3; ++n) direct.Observe(150e-6);
    }
    const absl::Duration middle = clock.Elapsed();
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      for (ShardMetrics& shard : shards) {
        for (CounterTally* tally : {&shard.calls, &shard.rows, &shard.pairs, &shard.experts}) {
          tally->Add();
        }
        shard.call_seconds.Observe(150e-6);
        shard.queue_seconds.Observe(150e-6);
        shard.compute_seconds.Observe(150e-6);
      }
      LayerDispatchSeconds& seconds = metrics.OfLayer(LayerIndex{layer});
      for (CounterTally* tally :
           {&seconds.plan, &seconds.post, &seconds.wait, &seconds.compute, &seconds.combine}) {
        tally->Add(150e-6);
      }
      metrics.dispatch_seconds.Observe(150e-6);
      metrics.wait_seconds.Observe(150e-6);
      metrics.combine_seconds.Observe(150e-6);
    }
    metrics.Commit();
    for (ShardMetrics& shard : shards) shard.Commit();
    tallied.push_back(clock.Elapsed() - middle);
    one_by_one.push_back(middle - start);
  }
  std::printf(
      "{\"case\":\"metrics of a step\",\"layers\":%zu,\"shards\":%u,\"one_by_one_p50_us\":%.1f,"
      "\"tallied_p50_us\":%.1f,\"ratio\":%.2f}\n",
      kLayers, kStepShards, Micros(one_by_one, 0.5), Micros(tallied, 0.5),
      Micros(one_by_one, 0.5) / Micros(tallied, 0.5));
}

}  // namespace
}  // namespace tessera::router

int main(int argc, char** argv) {
  const size_t layers = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 5000;
  for (const size_t rows : {1, 8, 64}) tessera::router::Measure(rows, layers);
  tessera::router::MeasureMetrics(layers);
  return 0;
}
