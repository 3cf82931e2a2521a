#pragma once

#include "services/cli/compute_flags.h"
#include "services/cli/flag_set.h"
#include "services/cli/local_engine.h"

namespace tessera::cli {

// The flags that choose a model and how it is computed, the same in every command that has them.
inline void AddModelFlags(FlagSet& flags, std::string* model, ComputeOptions* options) {
  flags.Add("model", model, "checkpoint folder (config.json and safetensors)");
  flags.Add("threads", &options->threads,
            "compute threads; 0: as many CPUs as this process may use");
  AddComputeFlags(flags, *options);
  flags.Add("shards", &options->shards,
            "expert shards; 0: the experts are in this process, no transport");
  flags.Add("transport", &options->transport,
            "to the shards: shm, ucx or grpc (child processes), loopback (in this process)");
  flags.Add("idle_poll", &options->idle_poll,
            "keep processors from halting while shards are awaited: auto, on, off");
  flags.Add("strict", &options->strict, "the same bits whatever the number of shards");
}

}  // namespace tessera::cli
