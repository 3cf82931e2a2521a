#pragma once

// A model whose next token is a hash of every key and value its block tables point to and of every
// expert's answer, so that a wrong block, a lost, doubled or foreign answer changes the tokens.
// Numbers that travel are small integers: their sums are exact in any order.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/model/model_spec.h"
#include "common/tensor/matrix.h"
#include "services/router/dispatch/expert_calls.h"
#include "services/router/kv/kv_cache.h"
#include "services/router/sequence/sampled_token.h"
#include "services/router/sequence/step_batch.h"

namespace tessera::router {

struct FoldingShape {
  size_t layers = 2;  // sliding and full in turn; each has experts
  size_t window = 20;
  size_t experts = 8;
  size_t top_k = 2;
};
inline constexpr TokenId kFoldingVocab = 50;
inline constexpr size_t kFoldingWidth = 4;  // d_model

ModelSpec FoldingSpec(const FoldingShape& shape);

// What the shards compute.
void FoldingExpert(LayerIndex layer, ExpertId expert, std::span<const float> row, float weight,
                   std::span<float> out);

// One sequence without blocks, batches or shards: what must come out.
class FoldingReference {
 public:
  explicit FoldingReference(const FoldingShape& shape) : shape_(shape), layers_(shape.layers) {}
  // Takes the token at the next position; returns the token that follows.
  TokenId Next(TokenId token);

 private:
  const FoldingShape shape_;
  std::vector<std::vector<uint64_t>> layers_;  // [layer][position] what attention reads
};

class FoldingModel {
 public:
  FoldingModel(const FoldingShape& shape, const KvCache& kv, ExpertCalls& experts);

  // Computes all rows; the tokens of batch.samples(). Errors are those of the experts.
  absl::StatusOr<std::vector<SampledToken>> Run(const StepBatch& batch);

 private:
  void Attend(size_t layer, const StepBatch& batch, std::vector<uint64_t>& hidden);
  absl::Status AddExperts(LayerIndex layer, std::vector<uint64_t>& hidden);

  const FoldingShape shape_;
  const ModelSpec spec_;
  ExpertCalls& experts_;
  std::vector<std::vector<uint64_t>> content_;  // [layer][block * 16 + token]
  // Of the layer at work.
  Matrix rows_;
  Matrix sum_;
  std::vector<uint32_t> chosen_;
  std::vector<float> weights_;
};

}  // namespace tessera::router
