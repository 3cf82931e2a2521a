#include "common/wire/placement_wire.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "tessera/v1/placement.pb.h"

namespace tessera::wire {
namespace {

constexpr uint32_t kLayersMax = 65536;
constexpr uint32_t kExpertsMax = 65535;

absl::Status CheckShape(const v1::Placement& message) {
  if (message.epoch() == 0 || message.layer_count() == 0 || message.layer_count() > kLayersMax ||
      message.expert_count() == 0 || message.expert_count() > kExpertsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a placement of epoch ", message.epoch(), " with ", message.layer_count(), " layers and ",
        message.expert_count(), " experts: expected > 0, 1..", kLayersMax, ", 1..", kExpertsMax));
  }
  return absl::OkStatus();
}

bool Describes(const std::vector<ShardDescriptor>& shards, ShardId id) {
  return std::any_of(shards.begin(), shards.end(),
                     [id](const ShardDescriptor& s) { return s.shard == id; });
}

}  // namespace

absl::Status CheckHeld(const ShardDescriptor& shard, const PlacementShape& shape) {
  std::set<std::pair<LayerIndex, ExpertId>> units;
  std::set<uint32_t> slots;
  for (const HeldUnit& held : shard.held) {
    const std::string name = absl::StrCat("shard ", ToIndex(shard.shard), ": expert ",
                                          ToIndex(held.expert), " of layer ", ToIndex(held.layer));
    if (ToIndex(held.layer) >= shape.layer_count || ToIndex(held.expert) >= shape.expert_count ||
        held.slot >= shard.slot_count) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " in slot ", held.slot, " is out of range: ", shape.layer_count,
                       " layers, ", shape.expert_count, " experts, ", shard.slot_count, " slots"));
    }
    if (!units.insert({held.layer, held.expert}).second) {
      return absl::InvalidArgumentError(absl::StrCat(name, " is named twice"));
    }
    if (!slots.insert(held.slot).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " shares slot ", held.slot, " with another unit"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ShardDescriptor> ToShardDescriptor(const v1::ShardDescriptor& message) {
  if (message.shard_id() > Placement::kShardIdMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard_id is ", message.shard_id(), ", expected 0..", Placement::kShardIdMax));
  }
  if (message.incarnation() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard ", message.shard_id(), " has no incarnation, expected > 0"));
  }
  if (message.state() < v1::SHARD_STATE_LOADING || message.state() > v1::SHARD_STATE_DRAINING) {
    return absl::InvalidArgumentError(absl::StrCat("shard ", message.shard_id(), " has the state ",
                                                   message.state(), ", expected 1..3"));
  }
  ShardDescriptor shard;
  shard.shard = ShardId{message.shard_id()};
  shard.incarnation = message.incarnation();
  shard.grpc_address = message.grpc_address();
  shard.data_address = message.data_address();
  shard.state = static_cast<ShardState>(message.state());
  shard.slot_count = message.slot_count();
  shard.zone = message.zone();
  if (message.slots_spare() > message.slot_count()) {
    return absl::InvalidArgumentError(absl::StrCat("shard ", message.shard_id(), " has ",
                                                   message.slots_spare(), " spare slots of ",
                                                   message.slot_count()));
  }
  shard.slots_spare = message.slots_spare();
  shard.burst = message.burst();
  shard.held_version = message.held_version();
  for (const v1::HeldUnit& unit : message.held()) {
    if (unit.slot() >= message.slot_count()) {
      return absl::InvalidArgumentError(absl::StrCat("shard ", message.shard_id(),
                                                     " holds a unit in slot ", unit.slot(), " of ",
                                                     message.slot_count()));
    }
    shard.held.push_back(
        {LayerIndex{unit.layer()}, ExpertId{unit.expert()}, unit.slot(), unit.weights_version()});
  }
  return shard;
}

void ToProto(const ShardDescriptor& shard, v1::ShardDescriptor& message) {
  message.Clear();
  message.set_shard_id(static_cast<uint32_t>(shard.shard));
  message.set_incarnation(shard.incarnation);
  message.set_grpc_address(shard.grpc_address);
  message.set_data_address(shard.data_address);
  message.set_state(static_cast<v1::ShardState>(shard.state));
  message.set_slot_count(shard.slot_count);
  message.set_zone(shard.zone);
  message.set_slots_spare(shard.slots_spare);
  message.set_burst(shard.burst);
  message.set_held_version(shard.held_version);
  for (const HeldUnit& unit : shard.held) {
    v1::HeldUnit& entry = *message.add_held();
    entry.set_layer(static_cast<uint32_t>(unit.layer));
    entry.set_expert(static_cast<uint32_t>(unit.expert));
    entry.set_slot(unit.slot);
    entry.set_weights_version(unit.weights_version);
  }
}

absl::StatusOr<PublishedPlacement> ToPublishedPlacement(const v1::Placement& message) {
  TESSERA_RETURN_IF_ERROR(CheckShape(message));
  PublishedPlacement published;
  for (const v1::ShardDescriptor& shard : message.shards()) {
    TESSERA_ASSIGN_OR_RETURN(ShardDescriptor descriptor, ToShardDescriptor(shard));
    if (!published.shards.empty() && published.shards.back().shard >= descriptor.shard) {
      return absl::InvalidArgumentError(
          absl::StrCat("shard ", shard.shard_id(), " is not in ascending order"));
    }
    published.shards.push_back(std::move(descriptor));
  }
  std::vector<PlacedUnit> units;
  for (const v1::LayerPlacement& layer : message.layers()) {
    for (const v1::ExpertPlacement& expert : layer.experts()) {
      for (const v1::Replica& replica : expert.replicas()) {
        if (!Describes(published.shards, ShardId{replica.shard_id()})) {
          return absl::InvalidArgumentError(
              absl::StrCat("expert ", expert.expert(), " of layer ", layer.layer(),
                           " lies on shard ", replica.shard_id(), ", which is not described"));
        }
        units.push_back({LayerIndex{layer.layer()},
                         ExpertId{expert.expert()},
                         {ShardId{replica.shard_id()}, replica.slot(), replica.weights_version()}});
      }
    }
  }
  TESSERA_ASSIGN_OR_RETURN(
      published.placement,
      Placement::Build(Epoch{message.epoch()}, {message.layer_count(), message.expert_count()},
                       std::move(units)));
  return published;
}

void ToProto(const PublishedPlacement& published, v1::Placement& message) {
  message.Clear();
  const Placement& placement = published.placement;
  message.set_epoch(static_cast<uint64_t>(placement.epoch()));
  message.set_layer_count(static_cast<uint32_t>(placement.shape().layer_count));
  message.set_expert_count(static_cast<uint32_t>(placement.shape().expert_count));
  for (const ShardDescriptor& shard : published.shards) ToProto(shard, *message.add_shards());
  v1::LayerPlacement* layer = nullptr;
  v1::ExpertPlacement* expert = nullptr;
  for (const PlacedUnit& unit : placement.Units()) {
    const auto layer_index = static_cast<uint32_t>(unit.layer);
    const auto expert_id = static_cast<uint32_t>(unit.expert);
    if (layer == nullptr || layer->layer() != layer_index) {
      layer = message.add_layers();
      layer->set_layer(layer_index);
      expert = nullptr;
    }
    if (expert == nullptr || expert->expert() != expert_id) {
      expert = layer->add_experts();
      expert->set_expert(expert_id);
    }
    v1::Replica& replica = *expert->add_replicas();
    replica.set_shard_id(static_cast<uint32_t>(unit.replica.shard));
    replica.set_slot(unit.replica.slot);
    replica.set_weights_version(unit.replica.weights_version);
  }
}

}  // namespace tessera::wire
