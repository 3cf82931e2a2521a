// A shard whose checkpoint is gone loads experts from the shards that hold them, and whoever dies
// meanwhile: every request gets the reference's tokens.

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/model/model_config.h"
#include "tests/support/golden.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_cluster.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

using testing::EventReader;
using testing::Golden;
using testing::GoldenPrompt;
using testing::GreedyRequest;
using testing::TestCluster;
using testing::WaitUntil;

constexpr size_t kPoor = 1;  // the shard that loses its file once it has started

class PeerLoadTest : public ::testing::Test {
 protected:
  void Start(uint32_t shard_count) {
    absl::StatusOr<Golden> golden = testing::ReadGolden("afmoe-tiny-f32");
    ASSERT_TRUE(golden.ok()) << golden.status();
    golden_ = *std::move(golden);
    const auto spec = ReadModelSpec(golden_.model_dir);
    ASSERT_TRUE(spec.ok()) << spec.status();
    spec_ = *spec;
    std::filesystem::copy(golden_.model_dir, folder_.path(),
                          std::filesystem::copy_options::recursive);
    auto cluster = TestCluster::Start(golden_.model_dir, {.shard_count = shard_count,
                                                          .replicas = 1,
                                                          .slots_spare = 16,
                                                          .model_dirs = {{kPoor, folder_.path()}},
                                                          .router = {}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    std::filesystem::resize_file(folder_.File("model.safetensors"), 4096);
  }
  size_t units() const {
    return (spec_.layer_count - spec_.dense_layer_count) * spec_.expert_count;
  }
  size_t HeldBy(size_t shard) { return cluster_->fleet().shard(shard).store().unit_count(); }
  std::vector<std::shared_ptr<EventReader>> SubmitAll() {
    std::vector<std::shared_ptr<EventReader>> readers;
    for (size_t i = 0; i < golden_.prompts.size(); ++i) {
      const GoldenPrompt& prompt = golden_.prompts[i];
      wire::GenerationParams params = GreedyRequest(absl::StrCat("r", i), prompt.ids,
                                                    static_cast<uint32_t>(prompt.greedy.size()));
      params.deadline = absl::Seconds(60);
      readers.push_back(cluster_->router().Submit(params));
    }
    return readers;
  }
  void ExpectWhole(const std::vector<std::shared_ptr<EventReader>>& readers) const {
    for (size_t i = 0; i < readers.size(); ++i) {
      EXPECT_EQ(readers[i]->AwaitFinished().error, absl::OkStatus()) << "request " << i;
      EXPECT_EQ(readers[i]->tokens(), golden_.prompts[i].greedy) << i;
    }
  }

  Golden golden_;
  ModelSpec spec_;
  const testing::TempFolder folder_;
  std::unique_ptr<TestCluster> cluster_;
};

TEST_F(PeerLoadTest, ItTakesOverFromAShardThatLeaves) {
  ASSERT_NO_FATAL_FAILURE(Start(/*shard_count=*/2));
  const auto readers = SubmitAll();
  readers[0]->AwaitTokens(4);
  cluster_->fleet().Stop(0);  // returns when nobody needs it any more
  EXPECT_EQ(HeldBy(kPoor), units());
  ExpectWhole(readers);
  ExpectWhole(SubmitAll());
}

TEST_F(PeerLoadTest, WhenThePeerDiesMeanwhileAnotherShardLoads) {
  ASSERT_NO_FATAL_FAILURE(Start(/*shard_count=*/3));
  const auto readers = SubmitAll();
  readers[0]->AwaitTokens(4);
  const size_t before = HeldBy(kPoor);
  // As if all that shard 0 holds were asked of it in vain.
  std::vector<ExpertId> experts;
  for (uint32_t e = 0; e < spec_.expert_count; ++e) experts.push_back(ExpertId{e});
  const ShardId unfit[] = {ShardId{0}};
  for (size_t layer = spec_.dense_layer_count; layer < spec_.layer_count; ++layer) {
    cluster_->router().cluster().directory().RequestUnits(LayerIndex{static_cast<uint32_t>(layer)},
                                                          experts, unfit);
  }
  EXPECT_TRUE(WaitUntil([&] { return HeldBy(kPoor) > before; })) << "from its peer";
  cluster_->fleet().Kill(0);
  ExpectWhole(readers);
  ExpectWhole(SubmitAll());
  EXPECT_GE(HeldBy(kPoor) + HeldBy(2), units());
}

}  // namespace
}  // namespace tessera
