#pragma once

// Where simulated steps get their routing from: a Zipf law, or a recorded trace.

#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/moe/placement.h"
#include "common/moe/routing.h"
#include "services/router/balance/routing_trace.h"

namespace tessera::router {

// Experts of rows, and equal weights for each. Thread-compatible.
class RoutingSource {
 public:
  virtual ~RoutingSource() = default;
  // The next step's routing of `layer` for about `rows` rows (a trace has its own numbers). Valid
  // until the next call.
  virtual RoutingView Next(LayerIndex layer, size_t rows) = 0;
};

// Expert of rank r is chosen with a probability in proportion to r^-exponent, top_k different ones
// a row; each layer has an order of its own, drawn from the seed.
class ZipfRouting final : public RoutingSource {
 public:
  ZipfRouting(const PlacementShape& shape, size_t top_k, double exponent, uint64_t seed);

  RoutingView Next(LayerIndex layer, size_t rows) override;
  // Other experts are the hot ones from now on.
  void Shuffle(uint64_t seed);

 private:
  const PlacementShape shape_;
  const size_t top_k_;
  std::vector<double> cumulative_;  // [expert_count] by rank
  std::vector<uint32_t> order_;     // [layer_count, expert_count] rank -> expert
  Random random_;
  std::vector<uint32_t> experts_;
  std::vector<float> weights_;
};

// The recorded steps of each layer in their order, again from the beginning after the last.
// Requires a step for each layer that is asked for; `trace` is borrowed.
class TraceRouting final : public RoutingSource {
 public:
  explicit TraceRouting(const RoutingTrace& trace);

  RoutingView Next(LayerIndex layer, size_t rows) override;
  bool Has(LayerIndex layer) const { return !of_layer_[ToIndex(layer)].empty(); }

 private:
  const RoutingTrace& trace_;
  std::vector<std::vector<size_t>> of_layer_;  // [layer_count] indices into the trace
  std::vector<size_t> next_;                   // [layer_count]
  std::vector<uint32_t> experts_;
  std::vector<float> weights_;
};

}  // namespace tessera::router
