#include "services/expert_shard/experts/expert_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/status.h"

namespace tessera::expert_shard {
namespace {

using kernels::SwiGluWeights;
using kernels::WeightMatrix;
using kernels::WeightType;

// Pieces beyond the slots: what was just dropped and is still being read does not keep its slot
// from being filled again.
constexpr size_t kPiecesSpare = 2;

size_t GateUpBytes(const ModelSpec& spec, WeightType type) {
  return WeightMatrix::PackedGateUpBytes(type, spec.expert_width, spec.d_model);
}
size_t DownBytes(const ModelSpec& spec, WeightType type) {
  return WeightMatrix::PackedBytes(type, spec.d_model, spec.expert_width);
}

size_t ScaleBytes(const TensorView& tensor) {
  const BlockScales& scales = tensor.scales;
  if (scales.data == nullptr) return 0;
  const size_t rows = (tensor.rows + scales.block_rows - 1) / scales.block_rows;
  const size_t cols = (tensor.cols + scales.block_cols - 1) / scales.block_cols;
  return rows * cols * SizeOf(scales.dtype);
}

size_t StoredBytes(const SwiGluTensors& tensors) {
  return tensors.gate.size_bytes() + tensors.up.size_bytes() + tensors.down.size_bytes();
}

}  // namespace

std::vector<std::span<const std::byte>> StoredParts(const SwiGluTensors& tensors) {
  std::vector<std::span<const std::byte>> parts;
  for (const TensorView* tensor : {&tensors.gate, &tensors.up, &tensors.down}) {
    parts.emplace_back(tensor->data, tensor->size_bytes());
    if (tensor->scales.data != nullptr) {
      parts.emplace_back(tensor->scales.data, ScaleBytes(*tensor));
    }
  }
  return parts;
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
  if (config.mapped && config.dtype != kernels::WeightChoice::kAuto) {
    return absl::InvalidArgumentError(
        "mapped weights are used as stored: --expert_dtype must be auto");
  }
  const size_t slot_count = units.size() + config.slots_spare;
  auto table = std::make_shared<ExpertTable>(spec, slot_count);
  std::unique_ptr<ExpertStore> store(new ExpertStore(spec, checkpoint, manifest, config, table));
  for (const ExpertUnit& unit : units) {
    if (const absl::Status known = store->CheckUnit(unit); !known.ok()) {
      return absl::InvalidArgumentError(known.message());
    }
  }
  if (!units.empty()) store->weight_type_ = store->TypeOf(units.front());
  TESSERA_RETURN_IF_ERROR(store->AllocateMemory(units));
  for (uint32_t slot = 0; slot < units.size(); ++slot) {
    const ExpertUnit& unit = units[slot];
    if (table->Find(unit.layer, unit.expert) != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(NameOf(unit), " is named twice"));
    }
    TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<HeldExpert> expert, store->MakeRoom(unit, slot));
    table->Put(expert);
    if (config.mapped) {
      TESSERA_RETURN_IF_ERROR(store->FillIn(*expert));
      continue;
    }
    plan.Add(NameOf(unit), StoredBytes(manifest.expert(unit.layer, unit.expert)),
             [store = store.get(), expert] { return store->FillIn(*expert); });
  }
  return store;
}

absl::Status ExpertStore::CheckUnit(const ExpertUnit& unit) const {
  if (ToIndex(unit.layer) < spec_.layer_count && !spec_.is_dense(ToIndex(unit.layer)) &&
      ToIndex(unit.expert) < spec_.expert_count) {
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat("the model has no ", NameOf(unit), "; MoE layers are ",
                                          spec_.dense_layer_count, " to ", spec_.layer_count - 1,
                                          " with ", spec_.expert_count, " experts each"));
}

WeightType ExpertStore::TypeOf(const ExpertUnit& unit) const {
  return ResolveWeightType(config_.dtype, manifest_.expert(unit.layer, unit.expert).gate.dtype,
                           config_.arithmetic);
}

size_t ExpertStore::PackedUnitBytes(const ExpertUnit& unit) const {
  return GateUpBytes(spec_, TypeOf(unit)) + DownBytes(spec_, TypeOf(unit));
}

uint64_t ExpertStore::VersionOf(const ExpertUnit& unit) const {
  uint64_t hash = MixBits(config_.model_identity);
  for (const uint64_t value :
       {static_cast<uint64_t>(unit.layer), static_cast<uint64_t>(unit.expert),
        static_cast<uint64_t>(TypeOf(unit)), static_cast<uint64_t>(config_.arithmetic),
        uint64_t{config_.mapped}}) {
    hash = MixBits(hash ^ value);
  }
  return hash;
}

absl::Status ExpertStore::AllocateMemory(std::span<const ExpertUnit> units) {
  const size_t slot_count = units.size() + config_.slots_spare;
  if (config_.mapped || slot_count == 0) return absl::OkStatus();
  // Spare slots may be given any unit.
  size_t piece_bytes = 0;
  for (const ExpertUnit& unit : units) piece_bytes = std::max(piece_bytes, PackedUnitBytes(unit));
  if (config_.slots_spare > 0) {
    for (const ExpertUnit& unit : AllUnits(spec_)) {
      piece_bytes = std::max(piece_bytes, PackedUnitBytes(unit));
    }
  }
  TESSERA_ASSIGN_OR_RETURN(memory_, SlotMemory::Allocate(piece_bytes, slot_count + kPiecesSpare));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<HeldExpert>> ExpertStore::MakeRoom(const ExpertUnit& unit,
                                                                  uint32_t slot) {
  auto expert = std::make_shared<HeldExpert>();
  expert->unit = unit;
  expert->slot = slot;
  expert->weights_version = VersionOf(unit);
  if (config_.mapped) {
    expert->size_bytes = StoredBytes(manifest_.expert(unit.layer, unit.expert));
    return expert;
  }
  expert->size_bytes = PackedUnitBytes(unit);
  expert->memory = memory_->Take();
  if (expert->memory == nullptr || expert->size_bytes > memory_->piece_bytes()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory is free for ", NameOf(unit), ": ", expert->size_bytes, " bytes"));
  }
  return expert;
}

absl::Status ExpertStore::FillIn(HeldExpert& expert) const {
  const SwiGluTensors& tensors = manifest_.expert(expert.unit.layer, expert.unit.expert);
  SwiGluWeights& network = expert.network;
  const auto borrow = [this](const TensorView& tensor, WeightMatrix& matrix) -> absl::Status {
    auto made = WeightMatrix::Borrow(tensor);
    if (!made.ok()) return Annotate(made.status(), checkpoint_.Whereabouts(tensor.data));
    matrix = *std::move(made);
    return absl::OkStatus();
  };
  if (config_.mapped) {
    TESSERA_RETURN_IF_ERROR(borrow(tensors.gate, network.gate));
    TESSERA_RETURN_IF_ERROR(borrow(tensors.up, network.up));
    return borrow(tensors.down, network.down);
  }
  TESSERA_RETURN_IF_ERROR(
      Annotate(Pack(tensors, expert), checkpoint_.Whereabouts(tensors.gate.data)));
  for (const TensorView& tensor : {tensors.gate, tensors.up, tensors.down}) {
    checkpoint_.Release(tensor);
  }
  return absl::OkStatus();
}

absl::Status ExpertStore::Pack(const SwiGluTensors& tensors, HeldExpert& expert) const {
  SwiGluWeights& network = expert.network;
  const WeightType type = TypeOf(expert.unit);
  // The piece is ours alone until the table that names it is published.
  const std::span<std::byte> bytes(const_cast<std::byte*>(expert.memory.get()), expert.size_bytes);
  const size_t gate_up_bytes = GateUpBytes(spec_, type);
  TESSERA_ASSIGN_OR_RETURN(
      network.gate_up,
      WeightMatrix::PackGateUpInto(tensors.gate, tensors.up, type, bytes.first(gate_up_bytes)));
  TESSERA_ASSIGN_OR_RETURN(
      network.down, WeightMatrix::PackInto(tensors.down, type, bytes.subspan(gate_up_bytes)));
  return absl::OkStatus();
}

absl::Status ExpertStore::FillFrom(const UnitSource& source, HeldExpert& expert) const {
  SwiGluTensors tensors = manifest_.expert(expert.unit.layer, expert.unit.expert);
  size_t total = 0;
  for (const auto& part : StoredParts(tensors)) total += part.size();
  std::vector<std::byte> bytes(total);
  TESSERA_RETURN_IF_ERROR(source(expert.unit, expert.weights_version, bytes));
  const std::byte* next = bytes.data();
  for (TensorView* tensor : {&tensors.gate, &tensors.up, &tensors.down}) {
    tensor->data = next;
    next += tensor->size_bytes();
    if (tensor->scales.data == nullptr) continue;
    tensor->scales.data = next;
    next += ScaleBytes(*tensor);
  }
  return Pack(tensors, expert);
}

absl::StatusOr<size_t> ExpertStore::Load(const ExpertUnit& unit, uint32_t slot,
                                         const UnitSource& other) {
  TESSERA_RETURN_IF_ERROR(CheckUnit(unit));
  absl::MutexLock lock(&changing_);
  const std::shared_ptr<const ExpertTable> now = table_.Read();
  if (slot >= now->slot_count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no slot ", slot, ", only 0 to ", now->slot_count() - 1));
  }
  if (const HeldExpert* there = now->AtSlot(slot); there != nullptr) {
    if (there->unit == unit) return 0;
    return absl::ResourceExhaustedError(
        absl::StrCat("slot ", slot, " holds ", NameOf(there->unit)));
  }
  if (const HeldExpert* held = now->Find(unit.layer, unit.expert); held != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat(NameOf(unit), " is in slot ", held->slot));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<HeldExpert> expert, MakeRoom(unit, slot));
  absl::Status filled = Annotate(FillIn(*expert), NameOf(unit));
  if (filled.ok()) filled = checkpoint_.Verify();
  if (!filled.ok() && other && !config_.mapped) {
    TESSERA_LOG(WARNING) << filled.message() << "; the unit is fetched from a peer";
    filled = FillFrom(other, *expert);
  }
  TESSERA_RETURN_IF_ERROR(filled);
  auto next = std::make_shared<ExpertTable>(*now);
  next->Put(expert);
  table_.Publish(std::move(next));
  return StoredBytes(manifest_.expert(unit.layer, unit.expert));
}

bool ExpertStore::Drop(const ExpertUnit& unit, uint32_t slot) {
  absl::MutexLock lock(&changing_);
  const std::shared_ptr<const ExpertTable> now = table_.Read();
  const HeldExpert* there = now->AtSlot(slot);
  if (there == nullptr || there->unit != unit) return false;
  auto next = std::make_shared<ExpertTable>(*now);
  next->Remove(slot);
  table_.Publish(std::move(next));
  return true;
}

const SwiGluWeights* ExpertStore::Find(LayerIndex layer, ExpertId expert) const {
  const HeldExpert* held = Snapshot()->Find(layer, expert);
  return held != nullptr ? &held->network : nullptr;
}

}  // namespace tessera::expert_shard
