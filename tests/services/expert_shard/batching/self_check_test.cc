#include "services/expert_shard/batching/self_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/services/expert_shard/loaded_model.h"
#include "tests/support/fake_clock.h"

namespace tessera::expert_shard {
namespace {

using ::testing::HasSubstr;

absl::Status Check(const LoadedModel& model, const ExpertStore& store,
                   kernels::Arithmetic arithmetic) {
  const FakeClock clock;
  Machine machine(2, BestIsa(), arithmetic);
  return SelfCheck(model.spec(), store, machine.compute, clock);
}

TEST(SelfCheckTest, EveryFormatOfWeightsPasses) {
  const LoadedModel model;
  for (const kernels::Arithmetic arithmetic :
       {kernels::Arithmetic::kFloat32, kernels::Arithmetic::kFast}) {
    for (const kernels::WeightChoice dtype :
         {kernels::WeightChoice::kF32, kernels::WeightChoice::kBF16, kernels::WeightChoice::kQ8,
          kernels::WeightChoice::kQ4}) {
      const auto store = model.LoadAll({.dtype = dtype, .arithmetic = arithmetic});
      const absl::Status status = Check(model, *store, arithmetic);
      EXPECT_TRUE(status.ok()) << kernels::NameOf(dtype) << ": " << status;
    }
    const auto mapped = model.LoadAll({.arithmetic = arithmetic, .mapped = true});
    EXPECT_TRUE(Check(model, *mapped, arithmetic).ok());
  }
}

TEST(SelfCheckTest, NothingHeldIsFine) {
  const LoadedModel model;
  const auto store = model.Load({}, {.slots_spare = 3});
  EXPECT_TRUE(Check(model, *store, kernels::Arithmetic::kFast).ok());
}

TEST(SelfCheckTest, WeightsThatAreNotTheCheckpointsAreFound) {
  const LoadedModel model;
  const auto store = model.LoadAll();
  // Other numbers in the last unit's last matrix, where the checkpoint has them.
  const SwiGluTensors& last = model.manifest().expert(LayerIndex{4}, ExpertId{7});
  const std::byte* begin = nullptr;
  for (const StoredTensor& tensor : model.checkpoint().tensors()) {
    const std::span<const std::byte> bytes = model.checkpoint().Bytes(tensor);
    if (bytes.data() != last.down.data) continue;
    begin = bytes.data();
    std::string changed(bytes.size(), '\0');
    for (size_t i = 0; i + 1 < changed.size(); i += 2) changed[i + 1] = '\x3f';
    const std::string content = testing::ReadFile(model.path() + "/model.safetensors");
    const size_t at =
        content.find(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    ASSERT_NE(at, std::string::npos);
    std::fstream file(model.path() + "/model.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << changed;
  }
  ASSERT_NE(begin, nullptr);
  const absl::Status status = Check(model, *store, kernels::Arithmetic::kFloat32);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("layer 4 expert 7"));
}

}  // namespace
}  // namespace tessera::expert_shard
