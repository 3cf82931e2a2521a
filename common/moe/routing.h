#pragma once

// The words router and shard share about one MoE layer of one step.

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/tensor/matrix_view.h"

namespace tessera {

// What the gate chose: for each row its experts and their final weights (normalised, route_scale
// applied).
struct RoutingView {
  size_t rows = 0;
  size_t top_k = 0;
  std::span<const uint32_t>
      experts;  // [rows, top_k], ascending expert id within a row, no expert twice
  std::span<const float> weights;  // [rows, top_k]

  std::span<const uint32_t> experts_of(size_t row) const {
    return experts.subspan(row * top_k, top_k);
  }
  std::span<const float> weights_of(size_t row) const {
    return weights.subspan(row * top_k, top_k);
  }
};

// The rows of a step with their routing: what travels to the experts.
struct Routed {
  ConstMatrixView rows;  // normed hidden rows [rows, d_model]
  RoutingView routing;
};

}  // namespace tessera
