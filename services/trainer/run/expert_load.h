#pragma once

// How evenly a model's routing loads its experts on documents it has not learned from.
//
//   source --RowPacker--> rows of mixed documents --forward--> rows per expert and layer
//     --summed over windows of Trainer::kLoadTokens--> figures

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/concurrency/thread_pool.h"
#include "services/trainer/backward/parameters.h"
#include "services/trainer/corpus/document.h"
#include "services/trainer/run/model_files.h"

namespace tessera::trainer {

struct LoadOptions {
  size_t tokens = 100'000;  // at least this many, and at least one window
  size_t row_tokens = 1024;
  uint64_t seed = 1;  // of the order of the documents
};

// One MoE layer. What a window says is averaged over the windows.
struct LayerLoad {
  double mean_over_max = 0;        // of a window: mean over largest load of an expert; 1 is perfect
  double mean_over_max_least = 1;  // of the least even window
  double max_violation = 0;        // of a window: MaxVio
  double jain = 0;                 // of a window: Jain's index
  double unused = 0;               // of a window: experts without a row
  size_t never_used = 0;           // experts without a row in all tokens
};

struct ExpertLoad {
  size_t tokens = 0;
  size_t windows = 0;
  double loss = 0;      // cross entropy per token with loss, nats
  double accuracy = 0;  // part of them predicted as the likeliest
  std::vector<LayerLoad> layers;
  // mean_over_max of a layer if every token drew its experts by chance, all equally likely: what is
  // above it is more even than chance.
  double chance = 0;

  double mean_over_max() const;  // mean of the layers
};

// `source` and `pool` are borrowed. The result does not depend on the number of threads. Errors:
// kInvalidArgument (fewer tokens than a window, a model without MoE layers, a wrong document),
// kFailedPrecondition (this CPU lacks AVX2 or FMA), kResourceExhausted.
absl::StatusOr<ExpertLoad> MeasureExpertLoad(const ParameterLayout& layout,
                                             const ModelWeights& weights,
                                             const DocumentSource& source,
                                             const LoadOptions& options, ThreadPool& pool);

}  // namespace tessera::trainer
