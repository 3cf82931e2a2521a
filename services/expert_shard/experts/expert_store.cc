#include "services/expert_shard/experts/expert_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::expert_shard {
namespace {

using kernels::SwiGluWeights;
using kernels::WeightMatrix;
using kernels::WeightType;

size_t GateUpBytes(const ModelSpec& spec, WeightType type) {
  return WeightMatrix::PackedGateUpBytes(type, spec.expert_width, spec.d_model);
}
size_t DownBytes(const ModelSpec& spec, WeightType type) {
  return WeightMatrix::PackedBytes(type, spec.d_model, spec.expert_width);
}

absl::Status PackExpert(const SwiGluTensors& tensors, WeightType type, std::span<std::byte> gate_up,
                        std::span<std::byte> down, SwiGluWeights& network) {
  TESSERA_ASSIGN_OR_RETURN(network.gate_up,
                           WeightMatrix::PackGateUpInto(tensors.gate, tensors.up, type, gate_up));
  TESSERA_ASSIGN_OR_RETURN(network.down, WeightMatrix::PackInto(tensors.down, type, down));
  return absl::OkStatus();
}

size_t StoredBytes(const SwiGluTensors& tensors) {
  return tensors.gate.size_bytes() + tensors.up.size_bytes() + tensors.down.size_bytes();
}

std::string NameOf(const ExpertUnit& unit) {
  return absl::StrCat("layer ", ToIndex(unit.layer), " expert ", ToIndex(unit.expert));
}

}  // namespace

std::vector<ExpertUnit> AllUnits(const ModelSpec& spec) {
  std::vector<ExpertUnit> units;
  for (size_t layer = spec.dense_layer_count; layer < spec.layer_count; ++layer) {
    for (size_t expert = 0; expert < spec.expert_count; ++expert) {
      units.push_back(
          {LayerIndex{static_cast<uint32_t>(layer)}, ExpertId{static_cast<uint32_t>(expert)}});
    }
  }
  return units;
}

size_t ExpertStore::PackedBytes(const ModelSpec& spec, const ModelManifest& manifest,
                                kernels::WeightChoice dtype, kernels::Arithmetic arithmetic) {
  size_t bytes = 0;
  for (const ExpertUnit& unit : AllUnits(spec)) {
    const WeightType type =
        ResolveWeightType(dtype, manifest.expert(unit.layer, unit.expert).gate.dtype, arithmetic);
    bytes += GateUpBytes(spec, type) + DownBytes(spec, type);
  }
  return bytes;
}

absl::StatusOr<std::unique_ptr<ExpertStore>> ExpertStore::Plan(
    const ModelSpec& spec, const Checkpoint& checkpoint, const ModelManifest& manifest,
    std::span<const ExpertUnit> units, const ExpertStoreConfig& config, LoadPlan& plan) {
  std::unique_ptr<ExpertStore> store(new ExpertStore);
  store->layers_.resize(spec.layer_count);
  for (size_t layer = spec.dense_layer_count; layer < spec.layer_count; ++layer) {
    store->layers_[layer].networks.resize(spec.expert_count);
  }
  for (const ExpertUnit& unit : units) {
    if (ToIndex(unit.layer) >= spec.layer_count || spec.is_dense(ToIndex(unit.layer)) ||
        ToIndex(unit.expert) >= spec.expert_count) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the model has no ", NameOf(unit), "; MoE layers are ", spec.dense_layer_count, " to ",
          spec.layer_count - 1, " with ", spec.expert_count, " experts each"));
    }
  }
  store->unit_count_ = units.size();
  if (config.mapped) {
    if (config.dtype != kernels::WeightChoice::kAuto) {
      return absl::InvalidArgumentError(
          "mapped weights are used as stored: --expert_dtype must be auto");
    }
    TESSERA_RETURN_IF_ERROR(store->BorrowMapped(manifest, units));
  } else {
    TESSERA_RETURN_IF_ERROR(store->PlanPacked(spec, checkpoint, manifest, units, config, plan));
  }
  return store;
}

absl::Status ExpertStore::BorrowMapped(const ModelManifest& manifest,
                                       std::span<const ExpertUnit> units) {
  for (const ExpertUnit& unit : units) {
    const SwiGluTensors& tensors = manifest.expert(unit.layer, unit.expert);
    SwiGluWeights& network = layers_[ToIndex(unit.layer)].networks[ToIndex(unit.expert)];
    TESSERA_ASSIGN_OR_RETURN(network.gate, WeightMatrix::Borrow(tensors.gate));
    TESSERA_ASSIGN_OR_RETURN(network.up, WeightMatrix::Borrow(tensors.up));
    TESSERA_ASSIGN_OR_RETURN(network.down, WeightMatrix::Borrow(tensors.down));
    size_bytes_ += network.size_bytes();
    weight_type_ = network.down.type();
  }
  return absl::OkStatus();
}

absl::Status ExpertStore::PlanPacked(const ModelSpec& spec, const Checkpoint& checkpoint,
                                     const ModelManifest& manifest,
                                     std::span<const ExpertUnit> units,
                                     const ExpertStoreConfig& config, LoadPlan& plan) {
  std::vector<size_t> layer_bytes(spec.layer_count, 0);
  std::vector<size_t> unit_offsets;
  for (const ExpertUnit& unit : units) {
    weight_type_ = ResolveWeightType(
        config.dtype, manifest.expert(unit.layer, unit.expert).gate.dtype, config.arithmetic);
    unit_offsets.push_back(layer_bytes[ToIndex(unit.layer)]);
    layer_bytes[ToIndex(unit.layer)] +=
        GateUpBytes(spec, weight_type_) + DownBytes(spec, weight_type_);
  }
  for (size_t layer = 0; layer < spec.layer_count; ++layer) {
    TESSERA_ASSIGN_OR_RETURN(layers_[layer].bytes, AlignedBuffer::Allocate(layer_bytes[layer]));
    size_bytes_ += layer_bytes[layer];
  }
  for (size_t i = 0; i < units.size(); ++i) {
    const ExpertUnit unit = units[i];
    const SwiGluTensors& tensors = manifest.expert(unit.layer, unit.expert);
    const WeightType type = ResolveWeightType(config.dtype, tensors.gate.dtype, config.arithmetic);
    Layer& layer = layers_[ToIndex(unit.layer)];
    const std::span<std::byte> bytes = layer.bytes.as<std::byte>();
    const std::span<std::byte> gate_up = bytes.subspan(unit_offsets[i], GateUpBytes(spec, type));
    const std::span<std::byte> down =
        bytes.subspan(unit_offsets[i] + gate_up.size(), DownBytes(spec, type));
    SwiGluWeights& network = layer.networks[ToIndex(unit.expert)];
    plan.Add(NameOf(unit), StoredBytes(tensors),
             [=, &checkpoint, &tensors, &network]() -> absl::Status {
               TESSERA_RETURN_IF_ERROR(PackExpert(tensors, type, gate_up, down, network));
               for (const TensorView& tensor : {tensors.gate, tensors.up, tensors.down})
                 checkpoint.Release(tensor);
               return absl::OkStatus();
             });
  }
  return absl::OkStatus();
}

const SwiGluWeights* ExpertStore::Find(LayerIndex layer, ExpertId expert) const {
  if (ToIndex(layer) >= layers_.size()) return nullptr;
  const std::vector<SwiGluWeights>& networks = layers_[ToIndex(layer)].networks;
  if (ToIndex(expert) >= networks.size() || networks[ToIndex(expert)].down.empty()) return nullptr;
  return &networks[ToIndex(expert)];
}

}  // namespace tessera::expert_shard
