#include "services/router/assembly/router_rooms.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/device/host_memory.h"

namespace tessera::router {
namespace {

// Of what weights and workspace leave: other processes of the box want to live.
constexpr double kKvShare = 0.8;

double Gigabytes(size_t bytes) { return static_cast<double>(bytes) / 1e9; }

// taken: bytes of weights and workspace.
absl::StatusOr<size_t> KvBytes(const KvGeometry& geometry, const CapacityConfig& capacity,
                               size_t context_wanted, size_t taken) {
  if (capacity.kv_bytes > 0) return capacity.kv_bytes;
  TESSERA_ASSIGN_OR_RETURN(const MemoryBudget memory, ReadMemoryBudget());
  if (memory.available_bytes <= taken) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "no memory for keys and values: %.2f GB are available, weights and workspace take %.2f GB",
        Gigabytes(memory.available_bytes), Gigabytes(taken)));
  }
  const BlockCounts one = geometry.SequenceBlocks(context_wanted, capacity.prefill_chunk_max);
  const auto left =
      static_cast<size_t>(kKvShare * static_cast<double>(memory.available_bytes - taken));
  return std::min(left, geometry.BytesOf(one) * capacity.sequences_max);
}

}  // namespace

size_t WorkspaceBytes(const ModelSpec& spec, size_t logits_rows_max) {
  constexpr size_t kFixedBytes = size_t{1} << 30;
  return kFixedBytes + logits_rows_max * spec.vocab * sizeof(float);
}

absl::StatusOr<KvPlan> PlanKv(const ModelSpec& spec, kernels::KvType type,
                              const CapacityConfig& capacity, size_t weight_bytes) {
  const KvGeometry geometry = KvGeometry::Of(spec, type);
  size_t context = spec.context_max;
  if (capacity.context_max > 0) context = std::min(context, capacity.context_max);
  KvBudget budget{.context_max = context,
                  .sequence_count = capacity.sequences_max,
                  .chunk_tokens = capacity.prefill_chunk_max};
  const size_t taken = weight_bytes + WorkspaceBytes(spec, capacity.logits_rows_max);
  TESSERA_ASSIGN_OR_RETURN(budget.bytes, KvBytes(geometry, capacity, context, taken));
  if (capacity.context_max == 0) {
    // Nobody asked for a length: as long as there is room for.
    budget.context_max = std::max<size_t>(1, LongestContext(geometry, budget));
  }
  TESSERA_ASSIGN_OR_RETURN(const BlockCounts blocks, SplitKvBudget(geometry, budget));
  return KvPlan{blocks, budget.context_max};
}

absl::StatusOr<std::unique_ptr<RouterRooms>> RouterRooms::Create(RouterModel& model,
                                                                 const CapacityConfig& capacity,
                                                                 const KvPlan& kv,
                                                                 const RoomsOutside& outside) {
  const ModelSpec& spec = model.spec();
  const SchedulerConfig config{
      .batch_tokens_max = capacity.batch_tokens_max,
      .prefill_chunk_max = capacity.prefill_chunk_max,
      .sequences_max = capacity.sequences_max,
      .waiting_max = capacity.waiting_max,
      .logits_rows_max = capacity.logits_rows_max,
      .context_max = std::min(kv.context_max, spec.context_max),
      .vocab = spec.vocab,
      .eos_token_ids = spec.eos_token_ids,
  };
  TESSERA_RETURN_IF_ERROR(config.Validate());
  std::unique_ptr<RouterRooms> rooms(new RouterRooms(outside.registry));
  rooms->metrics_.AddLayers(outside.registry, spec.layer_count, spec.dense_layer_count);
  rooms->context_max_ = config.context_max;
  TESSERA_ASSIGN_OR_RETURN(rooms->kv_,
                           KvCache::Create(spec, {.type = model.kv_type(),
                                                  .blocks = kv.blocks,
                                                  .prefix_cache = capacity.prefix_cache}));
  rooms->scheduler_ = std::make_unique<Scheduler>(config, *rooms->kv_);
  rooms->sampler_ =
      std::make_unique<Sampler>(SamplerConfig{.vocab = model.token_count()}, model.pool());
  rooms->model_ =
      std::make_unique<Model>(spec, model.weights(), model.compute(), capacity.batch_tokens_max);
  const EngineRooms engine_rooms{*rooms->scheduler_, *rooms->kv_,  *rooms->model_, outside.experts,
                                 *rooms->sampler_,   outside.sink, outside.clock,  rooms->metrics_,
                                 outside.directory,  outside.tally};
  rooms->engine_ = std::make_unique<Engine>(
      EngineConfig{.batch_tokens_max = capacity.batch_tokens_max,
                   .logits_rows_max = capacity.logits_rows_max},
      engine_rooms, [checkpoint = &model.checkpoint()] { return checkpoint->Verify(); });
  return rooms;
}

}  // namespace tessera::router
