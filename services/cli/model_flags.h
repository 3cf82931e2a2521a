#pragma once

#include "services/cli/flag_set.h"
#include "services/cli/local_engine.h"

namespace tessera::cli {

// The flags that choose a model and how it is computed, the same in every command that has them.
inline void AddModelFlags(FlagSet& flags, std::string* model, ComputeOptions* options) {
  flags.Add("model", model, "checkpoint folder (config.json and safetensors)");
  flags.Add("threads", &options->threads,
            "compute threads; 0: as many CPUs as this process may use");
  flags.Add("precision", &options->precision, "float32 (arithmetic, keys and values) or fast");
  flags.Add("expert_dtype", &options->expert_dtype,
            "routed experts: auto (as stored), f32, bf16, q8, q4");
  flags.Add("dense_dtype", &options->dense_dtype, "all other matrices: auto, f32, bf16, q8, q4");
  flags.Add("isa", &options->isa, "instruction set: auto, avx2, avx512, amx");
  flags.Add("weights", &options->weights,
            "packed (converted at load) or mapped (used straight from the files)");
  flags.Add("shards", &options->shards,
            "expert shards; 0: the experts are in this process, no transport");
  flags.Add("transport", &options->transport,
            "to the shards: ucx or grpc (child processes), loopback (in this process)");
  flags.Add("strict", &options->strict, "the same bits whatever the number of shards");
}

}  // namespace tessera::cli
