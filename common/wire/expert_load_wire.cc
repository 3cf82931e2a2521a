#include "common/wire/expert_load_wire.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "tessera/v1/observation.pb.h"

namespace tessera::wire {
namespace {

absl::StatusOr<ShardActivity> ToShardActivity(const v1::ShardActivity& message, size_t layers) {
  if (message.condition() < v1::SHARD_CONDITION_LIVE ||
      message.condition() > v1::SHARD_CONDITION_LOST) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard ", message.shard_id(), " has the condition ",
                     static_cast<int>(message.condition()), ", expected 1..5"));
  }
  if (static_cast<size_t>(message.layer_rows_size()) != layers) {
    return absl::InvalidArgumentError(absl::StrCat("shard ", message.shard_id(), " has rows of ",
                                                   message.layer_rows_size(), " layers, expected ",
                                                   layers));
  }
  return ShardActivity{.shard = ShardId{message.shard_id()},
                       .condition = static_cast<ShardCondition>(message.condition()),
                       .busy_ratio = std::clamp(message.busy_ratio(), 0.0f, 1.0f),
                       .layer_rows = {message.layer_rows().begin(), message.layer_rows().end()}};
}

}  // namespace

std::string_view NameOf(ShardCondition condition) {
  switch (condition) {
    case ShardCondition::kLive:
      return "live";
    case ShardCondition::kLoading:
      return "loading";
    case ShardCondition::kDraining:
      return "draining";
    case ShardCondition::kUnreachable:
      return "unreachable";
    case ShardCondition::kLost:
      break;
  }
  return "lost";
}

void ToProto(const ExpertLoad& load, v1::ExpertLoadReply& message) {
  message.Clear();
  message.set_window_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(load.window)));
  for (const LayerLoad& layer : load.layers) {
    v1::LayerLoad& told = *message.add_layers();
    told.set_layer(static_cast<uint32_t>(layer.layer));
    told.mutable_rows()->Assign(layer.rows.begin(), layer.rows.end());
  }
  for (const ShardActivity& shard : load.shards) {
    v1::ShardActivity& told = *message.add_shards();
    told.set_shard_id(static_cast<uint32_t>(shard.shard));
    told.set_condition(static_cast<v1::ShardCondition>(shard.condition));
    told.set_busy_ratio(shard.busy_ratio);
    told.mutable_layer_rows()->Assign(shard.layer_rows.begin(), shard.layer_rows.end());
  }
  if (load.routers.empty()) return;
  const RouterActivity& router = load.routers.front();
  v1::RouterActivity& told = *message.mutable_router();
  told.set_process_id(router.process_id);
  told.set_generation_tokens(router.generation_tokens);
  told.set_prompt_tokens(router.prompt_tokens);
  told.set_sequences_running(router.sequences_running);
  told.set_sequences_waiting(router.sequences_waiting);
}

absl::StatusOr<ExpertLoad> ToExpertLoad(const v1::ExpertLoadReply& message) {
  ExpertLoad load;
  load.window = absl::Milliseconds(message.window_ms());
  for (const v1::LayerLoad& told : message.layers()) {
    const LayerIndex layer{told.layer()};
    if (!load.layers.empty() &&
        (layer <= load.layers.back().layer ||
         static_cast<size_t>(told.rows_size()) != load.layers.back().rows.size())) {
      return absl::InvalidArgumentError(absl::StrCat(
          "layer ", told.layer(), " with ", told.rows_size(), " experts follows layer ",
          ToIndex(load.layers.back().layer), " with ", load.layers.back().rows.size()));
    }
    load.layers.push_back({layer, {told.rows().begin(), told.rows().end()}});
  }
  for (const v1::ShardActivity& told : message.shards()) {
    TESSERA_ASSIGN_OR_RETURN(ShardActivity shard, ToShardActivity(told, load.layers.size()));
    if (!load.shards.empty() && shard.shard <= load.shards.back().shard) {
      return absl::InvalidArgumentError(absl::StrCat("shard ", told.shard_id(), " follows shard ",
                                                     ToIndex(load.shards.back().shard)));
    }
    load.shards.push_back(std::move(shard));
  }
  if (message.has_router()) {
    const v1::RouterActivity& told = message.router();
    load.routers.push_back({.process_id = told.process_id(),
                            .generation_tokens = told.generation_tokens(),
                            .prompt_tokens = told.prompt_tokens(),
                            .sequences_running = told.sequences_running(),
                            .sequences_waiting = told.sequences_waiting()});
  }
  return load;
}

}  // namespace tessera::wire
