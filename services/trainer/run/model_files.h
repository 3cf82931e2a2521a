#pragma once

// A trained model as an ordinary AFMoE checkpoint: config.json and model.safetensors, tensors named
// as released models name them.

#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/trainer/backward/parameters.h"

namespace tessera::trainer {

enum class ExpertFormat {
  kBf16,
  kFp8,  // routed experts as F8_E4M3 with one scale a block; 128 x 128
};
// "bf16" or "fp8"; kInvalidArgument for another.
absl::StatusOr<ExpertFormat> ParseExpertFormat(std::string_view name);

// Weights of `layout`, borrowed.
struct ModelWeights {
  std::span<const float> values;       // [layout.size]
  std::span<const float> expert_bias;  // [MoE layers, experts]
};

// Writes both files into `directory`, which exists, each whole or not at all. Numbers are rounded
// to BF16, norms and expert biases stay F32. kUnavailable: a file cannot be written.
absl::Status WriteModel(const std::string& directory, const ParameterLayout& layout,
                        const ModelWeights& weights, ExpertFormat experts);

// Rounds `values` [layout.size] to what WriteModel writes and ReadModel reads.
void RoundAsWritten(const ParameterLayout& layout, ExpertFormat experts, std::span<float> values);

// config.json of the model.
std::string ConfigText(const ModelSpec& spec, ExpertFormat experts);

// Reads the weights of a checkpoint of the same shape, tensor by tensor F32, BF16 or what
// ExpertFormat::kFp8 writes. Errors: those of Checkpoint; kInvalidArgument for another shape or
// format.
absl::Status ReadModel(const std::string& directory, const ParameterLayout& layout,
                       std::span<float> values, std::span<float> expert_bias);

}  // namespace tessera::trainer
