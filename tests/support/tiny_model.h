#pragma once

// Small random AFMoE checkpoints of any shape, as real ones lie on disk.
//
//   const TempFolder folder;
//   WriteTinyModel(TinySpec(), {.dtype = DType::kBF16}, folder.path());
//
// A weight depends on the seed and the tensor's name only, so that the same model in another form
// (fused, sharded, another dtype) has the same numbers up to rounding.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/model_spec.h"
#include "common/tensor/dtype.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_folder.h"

namespace tessera::testing {

struct TinyModelOptions {
  uint64_t seed = 1;
  DType dtype = DType::kBF16;  // linear weights and embeddings. kF8E4M3: MLP weights, routed,
                               // shared and dense, with block scales (spec.quantization gives the
                               // blocks); attention, router gate, embeddings and head are BF16
  bool quantize_attention = false;   // with kF8E4M3: the projections of attention as well
  DType vector_dtype = DType::kF32;  // norms and expert biases
  DType scale_dtype = DType::kF32;   // kF32, kBF16, kF16, or kF8E8M0 (scales are powers of two)
  std::string scale_suffix = "weight_scale";  // or weight_scale_inv
  bool fused_experts = false;                 // one gate_up_proj and one down_proj a layer
  bool round_to_bf16 = false;  // every number is one that BF16 holds, whatever `dtype`
  size_t shard_count = 1;
};

// 5 layers (1 dense; layer 3 attends in full), d_model 48, 4 query and 2 key heads of 16, 8 experts
// of width 24, top-2, one shared expert, window 8, vocabulary 96.
ModelSpec TinySpec();

// config.json of `spec`.
std::string ConfigText(const ModelSpec& spec);

// The weights of the tensor `name` before rounding to a dtype, [rows, cols]: linear weights have
// standard deviation 1/sqrt(cols), embeddings 1, norms 1 +- 0.1, biases 0.1.
std::vector<float> TinyWeights(std::string_view name, size_t rows, size_t cols, uint64_t seed);

// The tensors of a checkpoint, in the order in which released ones hold them.
std::vector<FileTensor> TinyTensors(const ModelSpec& spec, const TinyModelOptions& options);

// Writes config.json and the weights into `directory`, which exists.
void WriteTinyModel(const ModelSpec& spec, const TinyModelOptions& options,
                    const std::string& directory);

}  // namespace tessera::testing
