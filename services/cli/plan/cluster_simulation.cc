#include "services/cli/plan/cluster_simulation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <utility>

#include "common/base/check.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/moe/dispatch_plan.h"
#include "services/cli/plan/simulated_balancer.h"
#include "services/cli/plan/simulated_events.h"
#include "services/cli/plan/simulated_shards.h"
#include "services/cli/plan/simulation_check.h"
#include "services/router/balance/fair_shares.h"

namespace tessera::cli {
namespace {

using Event = SimulatedEvent;
using Kind = Event::Kind;

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto index = static_cast<size_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(index), values.end());
  return values[index];
}

class Run {
 public:
  Run(const SimulationConfig& config, router::RoutingSource& routing)
      : config_(config),
        routing_(routing),
        layers_(LayersOf(config)),
        shards_(config.shape, layers_, config.shards, config.copies, SlotCount(config)),
        balancer_(config, layers_),
        routers_(config.routers),
        events_(config.processors),
        pairs_(config.shape.layer_count * config.shards),
        costs_(pairs_.size()) {
    for (Router& router : routers_) {
      router.shares.SetCosts({config.call_us, config.touch_us, config.row_us, true});
    }
  }

  SimulationResult Go() {
    for (uint32_t r = 0; r < routers_.size(); ++r) Push(0, Kind::kLayer, r);
    while (!events_.empty() && finished_ < routers_.size()) Handle(events_.Pop());
    TESSERA_CHECK(finished_ == routers_.size());
    return Result();
  }

  static std::vector<LayerIndex> LayersOf(const SimulationConfig& config) {
    std::vector<LayerIndex> layers = config.moe_layers;
    for (uint32_t l = 0; layers.size() < config.shape.layer_count && config.moe_layers.empty(); ++l)
      layers.push_back(LayerIndex{l});
    return layers;
  }
  static uint32_t SlotCount(const SimulationConfig& config) {
    const size_t copies = std::min(config.copies, config.shards);
    const size_t of_layer =
        (config.shape.expert_count * copies + config.shards - 1) / config.shards;
    const double even =
        static_cast<double>(LayersOf(config).size() * config.shape.expert_count * copies) /
        static_cast<double>(config.shards);
    return static_cast<uint32_t>(std::max(std::ceil(even * (1 + config.spare_slots)),
                                          static_cast<double>(of_layer * LayersOf(config).size())));
  }

 private:
  struct Router {
    size_t layer = 0;     // index into layers_
    size_t measured = 0;  // steps
    size_t rows = 0;      // of this step, as its first layer was asked for
    size_t waits = 0;     // calls not answered
    double step_began = 0;
    router::FairShares shares;
    std::vector<std::pair<SimulatedCall, uint32_t>> written;  // and for which shard; not sent yet
  };

  void Push(double at, Kind kind, uint32_t who, size_t call = 0, uint64_t life = 0) {
    events_.Push(at, {.kind = kind, .who = who, .life = life, .call = call});
  }

  void Handle(const Event& event) {
    switch (event.kind) {
      case Kind::kLayer:
        return Dispatch(event.who);
      case Kind::kPosted:
        return Post(routers_[event.who]);
      case Kind::kOthers:
        --others_at_work_;
        return LetOthersWork();
      case Kind::kArrive:
        return Arrive(event.who, event.call);
      case Kind::kServed:
        if (shards_[event.who].life == event.life) Served(event.who);
        return;
      case Kind::kReply:
        return Reply(event.who);
      case Kind::kFail:
        return Fail(event.who);
      case Kind::kReturn:
        shards_.Revive(event.who);
        return AskAgain();
      case Kind::kRetry:
        return Retry(event.call);
      case Kind::kMoves:
        balancer_.LandBatch(shards_);
        return AwaitMoves();
    }
  }

  double now() const { return events_.now_us(); }
  bool measuring() const { return measured_from_ >= 0; }

  void Dispatch(uint32_t r) {
    Router& router = routers_[r];
    const LayerIndex layer = layers_[router.layer];
    const RoutingView routing = routing_.Next(layer, config_.rows);
    if (router.layer == 0) router.rows = routing.rows;
    balancer_.Count(layer, routing);
    planner_.Plan(layer, routing, shards_.Map(),
                  router.shares.Choice(layer, shards_.Weights(), events_.order()), plan_);
    router.waits = 0;
    router.written.clear();
    for (const ShardPlan& part : plan_.shards) {
      SimulatedCall call{r, layer, static_cast<uint32_t>(part.rows.size()), {}};
      for (const PlanSegment& segment : part.segments) {
        call.experts.emplace_back(segment.expert, segment.pair_count);
      }
      router.shares.Note({.layer = layer,
                          .shard = part.shard,
                          .pairs = static_cast<uint32_t>(part.pair_rows.size()),
                          .experts = static_cast<uint32_t>(part.segments.size())});
      ++router.waits;
      router.written.emplace_back(std::move(call), static_cast<uint32_t>(ToIndex(part.shard)));
    }
    events_.Compute(config_.post_us * static_cast<double>(router.written.size()),
                    {.kind = Kind::kPosted, .who = r});
    if (!plan_.homeless.empty()) {
      SimulatedCall call{r, layer, static_cast<uint32_t>(routing.rows), {}};
      for (const ExpertId expert : plan_.homeless) call.experts.emplace_back(expert, 1);
      ++router.waits;
      calls_.push_back(std::move(call));
      Push(now() + 1e3 * config_.detect_ms, Kind::kRetry, r, calls_.size() - 1);
    }
    if (measuring()) Measure(layer);
  }

  void Post(Router& router) {
    for (auto& [call, shard] : router.written) Send(std::move(call), shard);
    router.written.clear();
  }

  // Of plan_.
  void Measure(LayerIndex layer) {
    double sum = 0, most = 0, experts = 0, experts_most = 0;
    for (const ShardPlan& part : plan_.shards) {
      const size_t cell = ToIndex(layer) * shards_.size() + ToIndex(part.shard);
      const auto pairs = static_cast<double>(part.pair_rows.size());
      const auto touched = static_cast<double>(part.segments.size());
      const double cost = config_.touch_us * touched + config_.row_us * pairs;
      pairs_[cell] += pairs;
      costs_[cell] += cost;
      sum += cost;
      most = std::max(most, cost);
      experts += touched;
      experts_most = std::max(experts_most, touched);
    }
    if (most <= 0) return;
    const auto living = static_cast<double>(shards_.living());
    step_balance_ += sum / living / most;
    experts_balance_ += experts / living / experts_most;
    ++measured_layers_;
  }

  double WireUs(uint32_t rows, size_t row_bytes) const {
    const double bits = 8.0 * static_cast<double>(rows * row_bytes);
    return config_.link_us + bits / (config_.link_gigabits * 1e3);
  }

  void Send(SimulatedCall call, uint32_t shard) {
    shards_[shard].outstanding_rows += call.rows;
    const double wire = WireUs(call.rows, config_.row_bytes_up);
    calls_.push_back(std::move(call));
    Push(now() + wire, Kind::kArrive, shard, calls_.size() - 1);
  }

  void Arrive(uint32_t s, size_t call) {
    if (!shards_[s].lives) {
      Push(now() + 1e3 * config_.detect_ms, Kind::kRetry, s, call);
      return;
    }
    shards_[s].queue.push_back(std::move(calls_[call]));
    if (!shards_[s].busy) Serve(s);
  }

  // All that waits for the layer of the oldest call is one batch.
  void Serve(uint32_t s) {
    SimulatedShard& shard = shards_[s];
    if (shard.queue.empty()) return;
    const LayerIndex layer = shard.queue.front().layer;
    std::set<ExpertId> experts;
    double pairs = 0;
    shard.at_work.clear();
    std::erase_if(shard.queue, [&](SimulatedCall& call) {
      if (call.layer != layer) return false;
      for (const auto& [expert, count] : call.experts) experts.insert(expert);
      pairs += call.pairs();
      shard.at_work.push_back(std::move(call));
      return true;
    });
    const double took = config_.call_us + config_.touch_us * static_cast<double>(experts.size()) +
                        config_.row_us * pairs;
    shard.busy = true;
    if (measuring()) shard.busy_us += took;
    events_.Compute(took, {.kind = Kind::kServed, .who = s, .life = shard.life});
  }

  void Served(uint32_t s) {
    SimulatedShard& shard = shards_[s];
    shard.busy = false;
    for (const SimulatedCall& call : shard.at_work) {
      shard.outstanding_rows -= std::min<uint64_t>(shard.outstanding_rows, call.rows);
      Push(now() + WireUs(call.rows, config_.row_bytes_down), Kind::kReply, call.router);
    }
    shard.at_work.clear();
    Serve(s);
  }

  void Reply(uint32_t r) {
    Router& router = routers_[r];
    if (--router.waits > 0) return;
    if (++router.layer == layers_.size()) {
      router.layer = 0;
      EndStep(router);
      if (router.measured == config_.steps) {
        ++finished_;
        return;
      }
    }
    const double step_us = router.layer == 0 ? config_.step_us : 0;
    events_.Compute(config_.attention_us + step_us, {.kind = Kind::kLayer, .who = r});
  }

  void EndStep(Router& router) {
    if (measuring() && router.step_began >= measured_from_) {
      ++router.measured;
      rows_measured_ += router.rows;
      step_ms_.push_back((now() - router.step_began) / 1e3);
    }
    router.step_began = now();
    ++steps_done_;
    ++steps_since_round_;
    if (config_.others_us > 0) others_wait_ += router.rows;
    LetOthersWork();
    // A round that is due while the last one's moves are on their way waits for them.
    if (steps_since_round_ >= config_.warmup_steps * config_.routers &&
        rounds_done_ < config_.rounds && balancer_.idle()) {
      ++rounds_done_;
      steps_since_round_ = 0;
      if (config_.balance) balancer_.Plan(shards_);
      AwaitMoves();
    }
    if (!measuring() && rounds_done_ == config_.rounds && balancer_.idle()) BeginMeasuring();
  }

  // Gateway and clients, one thread each, take tokens in their turn.
  void LetOthersWork() {
    for (; others_wait_ > 0 && others_at_work_ < 2; --others_wait_, ++others_at_work_) {
      events_.Compute(config_.others_us, {.kind = Kind::kOthers});
    }
  }

  void BeginMeasuring() {
    measured_from_ = now();
    for (size_t i = 0; i < config_.failures; ++i) {
      // Spread over the time the measured steps should take.
      const double span = now() / static_cast<double>(std::max<size_t>(1, steps_done_)) *
                          static_cast<double>(config_.steps * config_.routers);
      const double at =
          now() + span * static_cast<double>(i + 1) / static_cast<double>(config_.failures + 1);
      const uint64_t drawn = MixBits(config_.seed + i) % config_.shards;
      Push(at, Kind::kFail, static_cast<uint32_t>(drawn));
    }
  }

  void AwaitMoves() {
    if (!balancer_.idle()) Push(now() + balancer_.BatchUs(), Kind::kMoves, 0);
  }

  // `drawn` dies, or the next one that lives; the last one does not.
  void Fail(uint32_t drawn) {
    if (shards_.living() < 2) return;
    uint32_t s = drawn;
    while (!shards_[s].lives) s = (s + 1) % static_cast<uint32_t>(shards_.size());
    SimulatedShard& shard = shards_[s];
    shards_.Kill(s);
    ++died_;
    for (auto* list : {&shard.at_work, &shard.queue}) {
      for (SimulatedCall& call : *list) {
        calls_.push_back(std::move(call));
        Push(now() + 1e3 * config_.detect_ms, Kind::kRetry, s, calls_.size() - 1);
      }
      list->clear();
    }
    Push(now() + 1e6 * config_.return_seconds, Kind::kReturn, s);
  }

  // The experts of a lost call by living shards, each the one with least to do.
  void Retry(size_t index) {
    const SimulatedCall lost = std::move(calls_[index]);
    ++retried_;
    std::map<uint32_t, SimulatedCall> parts;
    SimulatedCall homeless{lost.router, lost.layer, lost.rows, {}};
    const std::vector<uint32_t> weights = shards_.Weights();
    for (const auto& [expert, pairs] : lost.experts) {
      const Replica* best = nullptr;
      for (const Replica& replica : shards_.Map().replicas(lost.layer, expert)) {
        if (best == nullptr || weights[ToIndex(replica.shard)] < weights[ToIndex(best->shard)]) {
          best = &replica;
        }
      }
      SimulatedCall& part =
          best == nullptr ? homeless : parts[static_cast<uint32_t>(ToIndex(best->shard))];
      part.router = lost.router;
      part.layer = lost.layer;
      part.rows = std::min(lost.rows, part.rows + pairs);
      part.experts.emplace_back(expert, pairs);
    }
    --routers_[lost.router].waits;
    routers_[lost.router].waits += parts.size();
    for (auto& [shard, part] : parts) Send(std::move(part), shard);
    if (homeless.experts.empty()) return;
    RestoreFor(homeless);
  }

  // Experts that nobody holds: a shard with room reads them, the others wait until a shard is back.
  void RestoreFor(const SimulatedCall& homeless) {
    SimulatedCall read{homeless.router, homeless.layer, homeless.rows, {}};
    SimulatedCall roomless = read;
    for (const auto& part : homeless.experts) {
      (shards_.Restore(homeless.layer, part.first) ? read : roomless).experts.push_back(part);
    }
    restored_ += read.experts.size();
    roomless_experts_ += roomless.experts.size();
    if (!read.experts.empty()) {
      const double seconds = static_cast<double>(read.experts.size()) * config_.unit_bytes /
                             config_.load_bytes_per_second;
      Push(now() + 1e6 * seconds, Kind::kRetry, 0, Await(std::move(read)));
    }
    if (!roomless.experts.empty()) roomless_.push_back(Await(std::move(roomless)));
  }
  size_t Await(SimulatedCall call) {
    ++routers_[call.router].waits;
    calls_.push_back(std::move(call));
    return calls_.size() - 1;
  }

  // A shard is back.
  void AskAgain() {
    for (const size_t call : roomless_) Push(now(), Kind::kRetry, 0, call);
    roomless_.clear();
  }

  // Mean over maximum of the shards, averaged over layers.
  double BalanceOf(const std::vector<double>& cells) const {
    double balance = 0;
    for (const LayerIndex layer : layers_) {
      const auto row = std::span(cells).subspan(ToIndex(layer) * shards_.size(), shards_.size());
      const double most = *std::ranges::max_element(row);
      if (most <= 0) continue;
      const double sum = std::accumulate(row.begin(), row.end(), 0.0);
      balance += sum / most / static_cast<double>(shards_.size() * layers_.size());
    }
    return balance;
  }

  SimulationResult Result() {
    SimulationResult result;
    result.seconds = (now() - measured_from_) / 1e6;
    result.tokens_per_second = static_cast<double>(rows_measured_) / result.seconds;
    result.steps_per_second = static_cast<double>(step_ms_.size()) / result.seconds;
    result.step_ms_p50 = Percentile(step_ms_, 0.5);
    result.step_ms_p99 = Percentile(step_ms_, 0.99);
    result.step_ms_max = Percentile(step_ms_, 1);
    result.window_balance = BalanceOf(costs_);
    result.pairs_balance = BalanceOf(pairs_);
    const auto layers = static_cast<double>(std::max<size_t>(1, measured_layers_));
    result.step_balance = step_balance_ / layers;
    result.experts_balance = experts_balance_ / layers;
    for (size_t s = 0; s < shards_.size(); ++s) {
      const double busy = shards_[s].busy_us / 1e6 / result.seconds;
      result.busy_mean += busy / static_cast<double>(shards_.size());
      result.busy_max = std::max(result.busy_max, busy);
    }
    result.loads = balancer_.loads();
    result.planned = balancer_.planned();
    result.died_shards = died_;
    result.retried_calls = retried_;
    result.restored_experts = restored_;
    result.roomless_experts = roomless_experts_;
    return result;
  }

  const SimulationConfig& config_;
  router::RoutingSource& routing_;
  const std::vector<LayerIndex> layers_;
  SimulatedShards shards_;
  SimulatedBalancer balancer_;
  std::vector<Router> routers_;
  std::vector<SimulatedCall> calls_;
  std::vector<size_t> roomless_;  // of calls_: they wait until a shard is back
  SimulatedEvents events_;
  DispatchPlanner planner_;
  DispatchPlan plan_;
  size_t finished_ = 0;
  size_t steps_done_ = 0;
  size_t steps_since_round_ = 0;
  size_t rounds_done_ = 0;
  size_t others_wait_ = 0;  // tokens that gateway and clients have not handled
  size_t others_at_work_ = 0;
  double measured_from_ = -1;
  std::vector<double> step_ms_;
  uint64_t rows_measured_ = 0;
  std::vector<double> pairs_;  // [layers, shards]
  std::vector<double> costs_;  // [layers, shards]
  double step_balance_ = 0;
  double experts_balance_ = 0;
  size_t measured_layers_ = 0;
  size_t died_ = 0;
  size_t retried_ = 0;
  size_t restored_ = 0;
  size_t roomless_experts_ = 0;
};

}  // namespace

absl::StatusOr<SimulationResult> Simulate(const SimulationConfig& config,
                                          router::RoutingSource& routing) {
  TESSERA_RETURN_IF_ERROR(CheckSimulation(config));
  return Run(config, routing).Go();
}

}  // namespace tessera::cli
