#pragma once

#include "services/cli/flag_set.h"

namespace tessera::cli {

// The flags that choose how a model is computed, the same in every command that has them. `options`
// has the members precision, expert_dtype, dense_dtype, isa and weights, all std::string.
template <typename Options>
void AddComputeFlags(FlagSet& flags, Options& options) {
  flags.Add("precision", &options.precision, "float32 (arithmetic, keys and values) or fast");
  flags.Add("expert_dtype", &options.expert_dtype,
            "routed experts: auto (as stored), f32, bf16, q8, q4");
  flags.Add("dense_dtype", &options.dense_dtype, "all other matrices: auto, f32, bf16, q8, q4");
  flags.Add("isa", &options.isa, "instruction set: auto, avx2, avx512, amx");
  flags.Add("weights", &options.weights,
            "packed (converted at load) or mapped (used straight from the files)");
}

}  // namespace tessera::cli
