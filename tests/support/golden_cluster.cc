#include "tests/support/golden_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::testing {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(60);  // of requests that must not fail

}  // namespace

void GoldenClusterTest::SetUp() {
  absl::StatusOr<Golden> golden = ReadGolden("afmoe-tiny-f32");
  ASSERT_TRUE(golden.ok()) << golden.status();
  golden_ = *std::move(golden);
}

void GoldenClusterTest::Start(const TestClusterOptions& options) {
  auto cluster = TestCluster::Start(golden_.model_dir, options);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  cluster_ = *std::move(cluster);
}

wire::GenerationParams GoldenClusterTest::Request(size_t i) const {
  wire::GenerationParams params =
      GreedyRequest(absl::StrCat("r", i), golden_.prompts[i % golden_.prompts.size()].ids,
                    static_cast<uint32_t>(Expected(i).size()));
  params.deadline = kDeadline;
  return params;
}

std::vector<TokenId> GoldenClusterTest::Expected(size_t i) const {
  std::vector<TokenId> tokens = golden_.prompts[i % golden_.prompts.size()].greedy;
  tokens.resize(std::min(tokens.size(), tokens_max_));
  return tokens;
}

GoldenClusterTest::Readers GoldenClusterTest::SubmitAll() {
  Readers readers;
  for (size_t i = 0; i < 2 * golden_.prompts.size(); ++i) {
    readers.push_back(cluster_->router().Submit(Request(i)));
  }
  return readers;
}

void GoldenClusterTest::ExpectWhole(EventReader& reader, size_t i) const {
  const wire::FinishedEvent& end = reader.AwaitFinished();
  EXPECT_EQ(end.error, absl::OkStatus()) << "request " << i;
  EXPECT_EQ(end.kind, wire::FinishKind::kLength);
  EXPECT_FALSE(end.degraded);
  EXPECT_EQ(reader.tokens(), Expected(i)) << "request " << i;
}

void GoldenClusterTest::ExpectWhole(const Readers& readers) const {
  for (size_t i = 0; i < readers.size(); ++i) ExpectWhole(*readers[i], i);
}

}  // namespace tessera::testing
