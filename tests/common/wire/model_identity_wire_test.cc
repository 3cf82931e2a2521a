#include "common/wire/model_identity_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tessera/v1/cluster.pb.h"

namespace tessera::wire {
namespace {

using ::testing::HasSubstr;

ModelIdentity Sample() {
  return {.model_hash = HashText(0xabcdef),
          .d_model = 1024,
          .layer_count = 16,
          .expert_count = 64,
          .expert_width = 256,
          .top_k = 8,
          .expert_dtype = "bf16",
          .kernel_level = "avx2"};
}

TEST(ModelIdentityWireTest, ThereAndBack) {
  v1::ModelIdentity message;
  ToProto(Sample(), message);
  const auto back = ToModelIdentity(message);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, Sample());
}

TEST(ModelIdentityWireTest, ImpossibleValuesAreNamed) {
  const auto refuse = [](const std::function<void(v1::ModelIdentity&)>& change, const char* name) {
    v1::ModelIdentity message;
    ToProto(Sample(), message);
    change(message);
    const auto result = ToModelIdentity(message);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(result.status().message(), HasSubstr(name));
  };
  refuse([](auto& m) { m.set_model_hash(""); }, "model_hash");
  refuse([](auto& m) { m.set_model_hash("12g4"); }, "model_hash");
  refuse([](auto& m) { m.set_model_hash(std::string(66, 'a')); }, "model_hash");
  refuse([](auto& m) { m.set_d_model(0); }, "d_model");
  refuse([](auto& m) { m.set_d_model(65537); }, "d_model");
  refuse([](auto& m) { m.set_layer_count(0); }, "layer_count");
  refuse([](auto& m) { m.set_expert_count(65536); }, "expert_count");
  refuse([](auto& m) { m.set_expert_width(0); }, "expert_width");
  refuse([](auto& m) { m.set_top_k(65); }, "top_k");
}

TEST(ModelIdentityWireTest, ADifferenceIsNamedWithBothValues) {
  ModelIdentity other = Sample();
  EXPECT_TRUE(CompareModels(Sample(), other, true).ok());
  other.expert_width = 512;
  const absl::Status status = CompareModels(Sample(), other, false);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("expert_width: 256 here, 512 there"));
}

TEST(ModelIdentityWireTest, KernelLevelsCountInStrictModeOnly) {
  ModelIdentity other = Sample();
  other.kernel_level = "amx";
  EXPECT_TRUE(CompareModels(Sample(), other, false).ok());
  EXPECT_THAT(CompareModels(Sample(), other, true).message(), HasSubstr("avx2 here, amx there"));
  EXPECT_NE(KernelLevelNumber("avx2"), KernelLevelNumber("amx"));
}

TEST(ModelIdentityWireTest, TheHashInAHelloIsItsBytes) {
  const auto hash = ToModelHash(HashText(0x0102030405060708));
  ASSERT_TRUE(hash.ok());
  for (size_t i = 0; i < hash->size(); ++i) EXPECT_EQ((*hash)[i], i < 8 ? i + 1 : 0) << i;
}

}  // namespace
}  // namespace tessera::wire
