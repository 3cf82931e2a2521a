#include "services/router/dispatch/dispatch_metrics.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace tessera::router {
namespace {

const std::vector<double>& SecondsBounds() {
  static const std::vector<double> bounds = {20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3,
                                             5e-3,  10e-3, 20e-3,  50e-3,  100e-3, 0.25, 1};
  return bounds;
}

HistogramTally Tally(Registry& registry, const std::string& name, const std::string& help,
                     const Registry::Labels& labels = {}) {
  return {registry.AddHistogram(name, help, SecondsBounds(), labels), SecondsBounds()};
}

}  // namespace

LayerDispatchSeconds::LayerDispatchSeconds(Registry& registry, LayerIndex layer) {
  const auto part = [&](const char* phase) {
    return CounterTally(
        registry.AddCounter(kLayerSecondsName, kLayerSecondsHelp,
                            {{"layer", absl::StrCat(ToIndex(layer))}, {"phase", phase}}));
  };
  plan = part("plan");
  post = part("post");
  wait = part("wait");
  compute = part("compute");
  combine = part("combine");
}

void LayerDispatchSeconds::Commit() {
  for (CounterTally* tally : {&plan, &post, &wait, &compute, &combine}) tally->Commit();
}

DispatchMetrics::DispatchMetrics(Registry& registry)
    : dispatch_seconds(Tally(registry, "tessera_router_dispatch_seconds",
                             "Planning, writing and posting one layer's calls.")),
      wait_seconds(Tally(registry, "tessera_router_expert_wait_seconds",
                         "Waiting for the answers of one layer's calls.")),
      combine_seconds(
          Tally(registry, "tessera_router_combine_seconds", "Adding one layer's answers up.")),
      homeless_layers(registry.AddCounter("tessera_router_homeless_layers_total",
                                          "Layers of a step that met an expert no shard held.")),
      homeless_failures(
          registry.AddCounter("tessera_router_homeless_failures_total",
                              "Of them, those given up because no shard came to hold it in time.")),
      late_failures(registry.AddCounter("tessera_router_late_failures_total",
                                        "Layers given up because a living shard took too long.")),
      relocations(registry.AddCounter("tessera_router_relocations_total",
                                      "Late calls whose experts other shards were asked to load.")),
      retries_held(registry.AddCounter("tessera_router_retries_held_total",
                                       "Retries that waited because the budget was spent.")),
      registry_(registry) {}

void DispatchMetrics::Commit() {
  dispatch_seconds.Commit();
  wait_seconds.Commit();
  combine_seconds.Commit();
  for (std::optional<LayerDispatchSeconds>& layer : layers_) {
    if (layer) layer->Commit();
  }
}

LayerDispatchSeconds& DispatchMetrics::OfLayer(LayerIndex layer) {
  const size_t index = ToIndex(layer);
  if (index >= layers_.size()) layers_.resize(index + 1);
  if (!layers_[index]) layers_[index].emplace(registry_, layer);
  return *layers_[index];
}

ShardMetrics::ShardMetrics(Registry& registry, ShardId shard) {
  const Registry::Labels labels = {{"shard", absl::StrCat(ToIndex(shard))}};
  const auto counter = [&](const char* name, const char* help) {
    return registry.AddCounter(absl::StrCat("tessera_router_shard_", name, "_total"), help, labels);
  };
  calls = CounterTally(counter("calls", "Calls posted to a shard, repetitions included."));
  rows = CounterTally(counter("rows", "Rows of the calls posted to a shard."));
  pairs = CounterTally(counter("pairs", "(row, expert) pairs of the calls posted to a shard."));
  experts =
      CounterTally(counter("experts", "Distinct experts of a call, summed over the calls posted."));
  retries = counter("retries", "Calls posted after an earlier attempt failed or was late.");
  hedges = counter("hedges", "Second copies of slow calls posted to a shard.");
  hedges_won = counter("hedges_won", "Second copies that were answered first.");
  timeouts = counter("timeouts", "Calls a shard did not answer in time.");
  failures = counter("failures", "Calls lost with the connection or answered by broken frames.");
  credit_waits = counter("credit_waits", "Calls that found all slots of the shard in use.");
  for (size_t i = 0; i < kNackReasons; ++i) {
    Registry::Labels reason = labels;
    reason["reason"] = std::string(wire::NameOf(static_cast<wire::NackReason>(i)));
    nacks[i] = registry.AddCounter("tessera_router_shard_nacks_total",
                                   "Calls a shard sent back uncomputed, by reason.", reason);
  }
  breaker = registry.AddGauge("tessera_router_shard_breaker",
                              "Circuit breaker: 0 closed, 1 half open, 2 open.", labels);
  call_seconds =
      Tally(registry, "tessera_router_shard_call_seconds",
            "From planning a call until its answer is taken up; less queue and compute: writing, "
            "the way, and what the router computed meanwhile.",
            labels);
  queue_seconds = Tally(registry, "tessera_router_shard_queue_seconds",
                        "Waiting at the shard, as it says.", labels);
  compute_seconds = Tally(registry, "tessera_router_shard_compute_seconds",
                          "Computing at the shard, as it says.", labels);
}

void ShardMetrics::Commit() {
  for (CounterTally* tally : {&calls, &rows, &pairs, &experts}) tally->Commit();
  call_seconds.Commit();
  queue_seconds.Commit();
  compute_seconds.Commit();
}

}  // namespace tessera::router
