#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/kernels/compute.h"
#include "common/kernels/reduce.h"
#include "common/tensor/matrix_view.h"

namespace tessera::kernels {

struct GateOptions {
  size_t top_k = 1;       // <= experts
  bool normalize = true;  // divide the chosen scores by their sum (+ 1e-20)
  float scale = 1.0f;     // after normalisation: route_scale
};

// The sigmoid gate of AFMoE, per row of logits [rows, experts]:
//   score = sigmoid(logit); chosen = the top_k largest of score + bias, ties to the lower id;
//   weight = score (without bias), normalised and scaled as `options` says.
// bias [experts] or empty. experts and weights [rows, top_k], in ascending expert id. Logits that
// are NaN come last in the choice: ids are distinct and in range whatever they are, weights may be
// NaN.
void SelectExperts(const Compute& compute, ConstMatrixView logits, std::span<const float> bias,
                   const GateOptions& options, std::span<uint32_t> experts,
                   std::span<float> weights);

// The `k` largest values in descending order, ties to the lower index; NaN never chosen, so fewer
// than k if there are no more. Returns indices. Runs on the caller.
std::vector<uint32_t> TopK(std::span<const float> values, size_t k, Isa isa = LocalIsa());

}  // namespace tessera::kernels
