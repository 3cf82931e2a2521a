#include "common/weights/model_identity.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

uint64_t IdentityOf(const ModelSpec& spec, const testing::TinyModelOptions& options) {
  const testing::TempFolder folder;
  testing::WriteTinyModel(testing::TinySpec(), options, folder.path());
  const auto checkpoint = Checkpoint::Open(folder.path());
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  const absl::StatusOr<uint64_t> identity = ModelIdentity(spec, **checkpoint);
  EXPECT_TRUE(identity.ok()) << identity.status();
  return *identity;
}

TEST(ModelIdentityTest, EqualForEqualModelsInOtherFiles) {
  const ModelSpec spec = testing::TinySpec();
  EXPECT_EQ(IdentityOf(spec, {}), IdentityOf(spec, {}));
  EXPECT_EQ(IdentityOf(spec, {}), IdentityOf(spec, {.shard_count = 4}));
}

TEST(ModelIdentityTest, DiffersInWeightsDTypesAndConfig) {
  const ModelSpec spec = testing::TinySpec();
  ModelSpec scale = spec, window = spec, kinds = spec, tied = spec;
  scale.route_scale = 2.449f;
  window.sliding_window += 1;
  kinds.layer_kinds[0] = LayerKind::kFull;
  tied.tied_embeddings = true;
  const std::set<uint64_t> identities = {IdentityOf(spec, {}),
                                         IdentityOf(spec, {.seed = 2}),
                                         IdentityOf(spec, {.dtype = DType::kF16}),
                                         IdentityOf(spec, {.fused_experts = true}),
                                         IdentityOf(scale, {}),
                                         IdentityOf(window, {}),
                                         IdentityOf(kinds, {}),
                                         IdentityOf(tied, {})};
  EXPECT_EQ(identities.size(), 8u);
}

}  // namespace
}  // namespace tessera
