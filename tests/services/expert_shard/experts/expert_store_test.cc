#include "services/expert_shard/experts/expert_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "common/concurrency/thread.h"
#include "services/expert_shard/experts/expert_ffn.h"
#include "tests/services/expert_shard/loaded_model.h"

namespace tessera::expert_shard {
namespace {

using ::testing::HasSubstr;

ExpertUnit Unit(uint32_t layer, uint32_t expert) { return {LayerIndex{layer}, ExpertId{expert}}; }

std::vector<float> FirstRow(const kernels::SwiGluWeights& network) {
  std::vector<float> row(network.down.inputs());
  network.down.ReadRow(0, row);
  return row;
}

TEST(ExpertStoreTest, UnitsGetSlotsInOrderAndHolesFollow) {
  const LoadedModel model;
  const std::vector<ExpertUnit> units = {Unit(1, 3), Unit(4, 0), Unit(2, 7)};
  const auto store = model.Load(units, {.slots_spare = 2});
  const auto table = store->Snapshot();
  EXPECT_EQ(table->slot_count(), 5u);
  EXPECT_EQ(table->unit_count(), 3u);
  for (size_t slot = 0; slot < units.size(); ++slot) {
    ASSERT_NE(table->AtSlot(slot), nullptr);
    EXPECT_EQ(table->AtSlot(slot)->unit, units[slot]);
    EXPECT_EQ(table->Find(units[slot].layer, units[slot].expert), table->AtSlot(slot));
  }
  EXPECT_EQ(table->AtSlot(3), nullptr);
  EXPECT_EQ(table->AtSlot(99), nullptr);
  EXPECT_EQ(table->Find(LayerIndex{1}, ExpertId{4}), nullptr);
  EXPECT_EQ(table->Find(LayerIndex{99}, ExpertId{3}), nullptr);
  EXPECT_EQ(table->Find(LayerIndex{1}, ExpertId{99}), nullptr);
}

TEST(ExpertStoreTest, UnitsComeAndGoWhileTablesInUseStayAsTheyAre) {
  const LoadedModel model;
  const auto whole = model.LoadAll();
  const std::vector<ExpertUnit> units = {Unit(1, 3), Unit(2, 7)};
  const auto store = model.Load(units, {.slots_spare = 1});
  const auto before = store->Snapshot();
  const std::vector<float> row = FirstRow(before->AtSlot(0)->network);

  const auto bytes = store->Load(Unit(4, 5), 2);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GT(*bytes, 0u);
  EXPECT_EQ(*store->Load(Unit(4, 5), 2), 0u) << "it is there";
  EXPECT_TRUE(store->Drop(Unit(1, 3), 0));
  EXPECT_FALSE(store->Drop(Unit(1, 3), 0)) << "gone already";
  EXPECT_FALSE(store->Drop(Unit(1, 3), 1)) << "another unit's slot";
  EXPECT_FALSE(store->Drop(Unit(1, 3), 77));
  ASSERT_TRUE(store->Load(Unit(3, 1), 0).ok());

  const auto after = store->Snapshot();
  EXPECT_GT(after->version(), before->version());
  EXPECT_EQ(after->AtSlot(0)->unit, Unit(3, 1));
  EXPECT_EQ(after->AtSlot(2)->unit, Unit(4, 5));
  EXPECT_EQ(before->AtSlot(2), nullptr);
  EXPECT_EQ(FirstRow(before->AtSlot(0)->network), row) << "what a batch reads is not overwritten";
  for (const ExpertUnit& unit : {Unit(3, 1), Unit(4, 5), Unit(2, 7)}) {
    const HeldExpert* here = after->Find(unit.layer, unit.expert);
    const HeldExpert* there = whole->Snapshot()->Find(unit.layer, unit.expert);
    EXPECT_EQ(FirstRow(here->network), FirstRow(there->network));
    EXPECT_EQ(here->weights_version, there->weights_version);
  }
}

TEST(ExpertStoreTest, EachErrorOfALoad) {
  const LoadedModel model;
  const std::vector<ExpertUnit> units = {Unit(1, 3)};
  const auto store = model.Load(units, {.slots_spare = 1});
  EXPECT_EQ(store->Load(Unit(0, 0), 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store->Load(Unit(1, 8), 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store->Load(Unit(1, 4), 2).status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status full = store->Load(Unit(1, 4), 0).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(full.message(), HasSubstr("layer 1 expert 3"));
  EXPECT_EQ(store->Load(Unit(1, 3), 1).status().code(), absl::StatusCode::kAlreadyExists);
  std::filesystem::resize_file(model.path() + "/model.safetensors", 4096);
  EXPECT_EQ(store->Load(Unit(1, 4), 1).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(store->Snapshot()->AtSlot(1), nullptr);
}

TEST(ExpertStoreTest, WhereTheCheckpointFailsAPeersWeightsServe) {
  for (const auto dtype : {kernels::WeightChoice::kAuto, kernels::WeightChoice::kQ8}) {
    const LoadedModel model;
    const LoadedModel other;  // the same numbers in another file
    const auto whole = other.LoadAll({.dtype = dtype});
    const auto store =
        model.Load(std::vector<ExpertUnit>{Unit(1, 3)}, {.dtype = dtype, .slots_spare = 1});
    int asked = 0;
    const UnitSource peer = [&](const ExpertUnit& unit, uint64_t version,
                                std::span<std::byte> bytes) -> absl::Status {
      ++asked;
      const auto table = whole->Snapshot();
      const HeldExpert* held = table->Find(unit.layer, unit.expert);
      EXPECT_EQ(version, held->weights_version);
      size_t filled = 0;
      for (const auto& part : StoredParts(other.manifest().expert(unit.layer, unit.expert))) {
        std::copy(part.begin(), part.end(), bytes.begin() + static_cast<ptrdiff_t>(filled));
        filled += part.size();
      }
      EXPECT_EQ(filled, bytes.size());
      return absl::OkStatus();
    };
    ASSERT_TRUE(store->Load(Unit(2, 5), 1, peer).ok());
    EXPECT_EQ(asked, 0) << "the checkpoint is nearer";
    ASSERT_TRUE(store->Drop(Unit(2, 5), 1));
    std::filesystem::resize_file(model.path() + "/model.safetensors", 4096);
    EXPECT_EQ(store->Load(Unit(2, 6), 1).status().code(), absl::StatusCode::kDataLoss);
    const auto refused = [](const ExpertUnit&, uint64_t, std::span<std::byte>) {
      return absl::NotFoundError("the peer let it go");
    };
    EXPECT_EQ(store->Load(Unit(2, 6), 1, refused).status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(store->Snapshot()->AtSlot(1), nullptr);
    ASSERT_TRUE(store->Load(Unit(2, 6), 1, peer).ok());
    EXPECT_EQ(asked, 1);
    const kernels::SwiGluWeights& here = *store->Find(LayerIndex{2}, ExpertId{6});
    const kernels::SwiGluWeights& there = *whole->Find(LayerIndex{2}, ExpertId{6});
    for (const auto matrix : {&kernels::SwiGluWeights::gate_up, &kernels::SwiGluWeights::down}) {
      std::vector<float> mine((here.*matrix).inputs());
      std::vector<float> theirs((there.*matrix).inputs());
      ASSERT_EQ((here.*matrix).outputs(), (there.*matrix).outputs());
      (here.*matrix).ReadRow((here.*matrix).outputs() - 1, mine);
      (there.*matrix).ReadRow((here.*matrix).outputs() - 1, theirs);
      EXPECT_EQ(mine, theirs);
    }
  }
}

TEST(ExpertStoreTest, ADroppedPieceIsGivenAgainOnlyWhenNobodyReadsIt) {
  const LoadedModel model;
  const std::vector<ExpertUnit> units = {Unit(1, 0)};
  const auto store = model.Load(units);
  // Every table is kept, so each load needs memory of its own; there are two pieces to spare.
  std::vector<std::shared_ptr<const ExpertTable>> kept = {store->Snapshot()};
  absl::Status status;
  for (uint32_t expert = 1; expert < 8 && status.ok(); ++expert) {
    ASSERT_TRUE(store->Drop(kept.back()->AtSlot(0)->unit, 0));
    status = store->Load(Unit(1, expert), 0).status();
    if (status.ok()) kept.push_back(store->Snapshot());
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(kept.size(), 3u);
  kept.clear();
  EXPECT_TRUE(store->Load(Unit(1, 6), 0).ok());
}

TEST(ExpertStoreTest, VersionsTellUnitsFormatsAndModelsApart) {
  const LoadedModel model;
  const std::vector<ExpertUnit> units = {Unit(1, 3), Unit(1, 4), Unit(2, 3)};
  std::vector<uint64_t> versions;
  const auto add = [&](const ExpertStoreConfig& config) {
    const auto table = model.Load(units, config)->Snapshot();
    for (size_t slot = 0; slot < 3; ++slot) {
      versions.push_back(table->AtSlot(slot)->weights_version);
    }
  };
  add({.model_identity = 1});
  add({.model_identity = 2});
  add({.dtype = kernels::WeightChoice::kQ8, .model_identity = 1});
  add({.arithmetic = kernels::Arithmetic::kFloat32, .model_identity = 1});
  const size_t count = versions.size();
  add({.model_identity = 1});
  EXPECT_TRUE(std::equal(versions.begin(), versions.begin() + 3, versions.end() - 3));
  std::ranges::sort(versions);
  EXPECT_EQ(static_cast<size_t>(std::ranges::unique(versions).begin() - versions.begin()), count);
}

TEST(ExpertStoreTest, MappedUnitsComeAndGoToo) {
  const LoadedModel model;
  const std::vector<ExpertUnit> units = {Unit(1, 3)};
  const auto store = model.Load(units, {.mapped = true, .slots_spare = 1});
  ASSERT_TRUE(store->Load(Unit(2, 2), 1).ok());
  EXPECT_EQ(FirstRow(*store->Find(LayerIndex{2}, ExpertId{2})),
            FirstRow(*model.LoadAll()->Find(LayerIndex{2}, ExpertId{2})));
  EXPECT_TRUE(store->Drop(Unit(2, 2), 1));
  EXPECT_EQ(store->unit_count(), 1u);
}

TEST(ExpertStoreTest, PlanErrors) {
  const LoadedModel model;
  const auto plan = [&](std::vector<ExpertUnit> units, const ExpertStoreConfig& config) {
    LoadPlan ignored;
    return ExpertStore::Plan(model.spec(), model.checkpoint(), model.manifest(), units, config,
                             ignored)
        .status()
        .code();
  };
  EXPECT_EQ(plan({Unit(0, 1)}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(plan({Unit(1, 1), Unit(1, 1)}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(plan({Unit(1, 1)}, {.dtype = kernels::WeightChoice::kQ8, .mapped = true}),
            absl::StatusCode::kInvalidArgument);
}

TEST(ExpertStoreTest, RowsAreComputedWhileUnitsMove) {
  const LoadedModel model;
  std::vector<ExpertUnit> units;
  for (uint32_t expert = 0; expert < 8; ++expert) units.push_back(Unit(1, expert));
  const auto store = model.Load(units, {.slots_spare = 2});
  std::atomic<int> moves{0};
  Thread mover("mover", [&](std::stop_token stop) {
    for (uint32_t i = 0; !stop.stop_requested(); ++i) {
      const ExpertUnit unit = Unit(2, i % 8);
      const uint32_t slot = 8 + i % 2;
      if (store->Load(unit, slot).ok()) ++moves;
      store->Drop(unit, slot);
    }
  });
  Machine machine;
  ExpertFfn ffn(*store, machine.compute);
  const RandomRouting routing(model.spec(), 6, 1);
  Matrix first(6, model.spec().d_model);
  Matrix again(6, model.spec().d_model);
  ASSERT_TRUE(ffn.Run(LayerIndex{1}, routing.routed(), first.view()).ok());
  for (int i = 0; i < 200 || moves.load() < 5; ++i) {
    ASSERT_TRUE(ffn.Run(LayerIndex{1}, routing.routed(), again.view()).ok());
    ASSERT_TRUE(std::ranges::equal(first.values(), again.values()));
  }
}

}  // namespace
}  // namespace tessera::expert_shard
