#pragma once

// Every room of the router that the engine thread owns, put together around the calls to experts it
// is given.

#include <cstddef>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "services/router/assembly/router_model.h"
#include "services/router/cluster/shard_directory.h"
#include "services/router/engine/engine.h"

namespace tessera::router {

// How much fits at once.
struct CapacityConfig {
  size_t context_max = 0;          // tokens of one sequence; 0: the model's, or what the cache
                                   // holds if that is less
  size_t sequences_max = 64;       // computed at once
  size_t waiting_max = 256;        // submitted and not yet computed
  size_t batch_tokens_max = 2048;  // rows of a step
  size_t prefill_chunk_max = 512;  // rows of one sequence in a step
  size_t logits_rows_max = 256;    // rows projected to logits in a step; >= sequences_max
  size_t kv_bytes = 0;             // 0: what the memory leaves, see PlanKv
  bool prefix_cache = true;
};

struct KvPlan {
  BlockCounts blocks;
  size_t context_max = 0;
};

// Sizes keys and values. With kv_bytes 0 it takes what sequences_max sequences of context_max need,
// but at most four fifths of what is available after `weight_bytes` (still to be loaded; 0 if
// mapped) and a workspace. kResourceExhausted with the arithmetic if one sequence does not fit;
// kInvalidArgument for limits that are 0.
absl::StatusOr<KvPlan> PlanKv(const ModelSpec& spec, kernels::KvType type,
                              const CapacityConfig& capacity, size_t weight_bytes);

// What a process takes beside weights and cache: 1 GiB of activations and code, and the logits of a
// step, float32 [logits_rows_max, vocab].
size_t WorkspaceBytes(const ModelSpec& spec, size_t logits_rows_max);

// What the rooms meet; all borrowed.
struct RoomsOutside {
  ExpertCalls& experts;
  TokenSink& sink;
  const Clock& clock;
  Registry& registry;
  const ShardDirectory* directory = nullptr;  // null: every expert is always held
  ExpertTally* tally = nullptr;               // null: nobody counts
};

// Owned by the engine thread.
class RouterRooms {
 public:
  // `model` is borrowed, its weights are loaded. kInvalidArgument naming the limit;
  // kResourceExhausted: no memory for keys and values.
  static absl::StatusOr<std::unique_ptr<RouterRooms>> Create(RouterModel& model,
                                                             const CapacityConfig& capacity,
                                                             const KvPlan& kv,
                                                             const RoomsOutside& outside);

  Engine& engine() { return *engine_; }
  Scheduler& scheduler() { return *scheduler_; }
  const KvCache& kv() const { return *kv_; }
  const EngineMetrics& metrics() const { return metrics_; }
  size_t context_max() const { return context_max_; }

 private:
  explicit RouterRooms(Registry& registry) : metrics_(registry) {}

  EngineMetrics metrics_;
  size_t context_max_ = 0;
  std::unique_ptr<KvCache> kv_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Sampler> sampler_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace tessera::router
