#include "services/cli/plan/simulated_balancer.h"

#include <algorithm>
#include <utility>

namespace tessera::cli {
namespace {

using router::BalanceMove;

constexpr size_t kBatches = 16;  // of a round

}  // namespace

SimulatedBalancer::SimulatedBalancer(const SimulationConfig& config, std::vector<LayerIndex> layers)
    : config_(config),
      layers_(std::move(layers)),
      seen_in_(config.shape.expert_count),
      window_(config.shape, /*window_steps=*/1000.0) {
  BeginCounting();
}

void SimulatedBalancer::BeginCounting() {
  counted_.shape = config_.shape;
  counted_.rows.assign(config_.shape.layer_count * config_.shape.expert_count, 0);
  counted_.touches.assign(counted_.rows.size(), 0);
  counted_.steps.assign(config_.shape.layer_count, 0);
}

void SimulatedBalancer::Count(LayerIndex layer, const RoutingView& routing) {
  ++counts_;
  ++counted_.steps[ToIndex(layer)];
  const size_t first = ToIndex(layer) * config_.shape.expert_count;
  for (const uint32_t expert : routing.experts) {
    ++counted_.rows[first + expert];
    counted_.touches[first + expert] += std::exchange(seen_in_[expert], counts_) != counts_;
  }
}

void SimulatedBalancer::Plan(const SimulatedShards& shards) {
  window_.Add(counted_);
  BeginCounting();
  const router::CostModel costs{config_.call_us, config_.touch_us, config_.row_us, true};
  router::BalancePlan plan = router::PlanBalance(
      shards.Problem(window_.UnitCosts(costs, layers_)),
      {.loads_max = config_.loads_max, .slots_kept_free = config_.slots_kept_free});
  planned_ = plan.after;
  loads_ += plan.loads;
  pending_ = std::move(plan.moves);
  batch_ = (pending_.size() + kBatches - 1) / kBatches;
}

std::span<const BalanceMove> SimulatedBalancer::Batch() const {
  return std::span(pending_).first(std::min(batch_, pending_.size()));
}

double SimulatedBalancer::BatchUs() const {
  std::vector<size_t> loads(config_.shards);
  for (const BalanceMove& move : Batch()) {
    loads[ToIndex(move.to)] += move.kind != BalanceMove::Kind::kDrop;
  }
  const auto most = static_cast<double>(*std::ranges::max_element(loads));
  return 1e6 * most * config_.unit_bytes / config_.load_bytes_per_second;
}

void SimulatedBalancer::LandBatch(SimulatedShards& shards) {
  const auto batch = Batch();
  for (const BalanceMove& move : batch) shards.Apply(move);
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(batch.size()));
}

}  // namespace tessera::cli
