#include "common/weights/model_identity.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include "absl/strings/match.h"
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

// Kilobytes of files in `folder` that are mapped by this process and resident.
size_t ResidentKilobytes(const std::string& folder) {
  std::ifstream smaps("/proc/self/smaps");
  size_t sum = 0;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long kilobytes = 0;
    char of_range;
    if (std::sscanf(line.c_str(), "%*x-%*x %c", &of_range) == 1) {
      ours = absl::StrContains(line, folder);
    } else if (ours && std::sscanf(line.c_str(), "Rss: %lu kB", &kilobytes) == 1) {
      sum += kilobytes;
    }
  }
  return sum;
}

TEST(ModelIdentityTest, LeavesNothingResident) {
  const testing::TempFolder folder;
  testing::WriteTinyModel(testing::TinySpec(), {}, folder.path());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const StoredTensor& tensor = (*checkpoint)->tensors().front();
  volatile std::byte read = (*checkpoint)->Bytes(tensor).front();
  static_cast<void>(read);
  ASSERT_GT(ResidentKilobytes(folder.path()), 0u);
  ASSERT_TRUE(ModelIdentity(testing::TinySpec(), **checkpoint).ok());
  EXPECT_EQ(ResidentKilobytes(folder.path()), 0u);
}

}  // namespace
}  // namespace tessera
