#include "services/trainer/run/model_files.h"

#include <gtest/gtest.h>

#include <cmath>

#include "common/base/clock.h"
#include "common/model/model_config.h"
#include "common/weights/manifest.h"
#include "services/cli/local_engine.h"
#include "services/trainer/backward/row_pass.h"
#include "services/trainer/run/trainer.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

namespace tessera::trainer {
namespace {

struct Model {
  explicit Model(const ModelSpec& spec) : layout(*ParameterLayout::Of(spec)) {
    values.resize(layout.size);
    expert_bias.resize(spec.moe_layer_count() * spec.expert_count);
    InitializeWeights(layout, 5, values);
    Random random(6);
    for (float& bias : expert_bias) bias = static_cast<float>(random.Uniform() - 0.5);
  }
  std::vector<float> Logits(const std::vector<int32_t>& ids) const {
    std::vector<float> packed(layout.packed_size);
    for (const Linear& linear : layout.linears) {
      PackLinear(linear, 0, linear.count, values.data(), packed.data());
    }
    auto pass = RowPass<float>::Create(layout, ids.size());
    EXPECT_TRUE(pass.ok());
    const PackedRow row = {ids,
                           std::vector<int32_t>(ids.size(), PackedRow::kNoLoss),
                           {0, static_cast<uint32_t>(ids.size())}};
    return (*pass)->Logits(row, {values.data(), packed.data(), expert_bias.data()});
  }

  ParameterLayout layout;
  std::vector<float> values;
  std::vector<float> expert_bias;
};

// Keeps what an engine says about a prompt.
struct LogitsSink final : router::TokenSink {
  void OnToken(const router::Sequence&, const router::SampledToken&) override {}
  void OnPromptLogits(const router::Sequence&, uint32_t, std::span<const float> row) override {
    logits.insert(logits.end(), row.begin(), row.end());
  }
  void OnFinished(std::unique_ptr<router::Sequence> sequence) override {
    status = sequence->error();
  }
  std::vector<float> logits;
  absl::Status status;
};

std::vector<float> EngineLogits(const std::string& folder, const std::vector<int32_t>& ids) {
  const RealClock clock;
  LogitsSink sink;
  auto engine =
      cli::LocalEngine::Create(folder, {.precision = "float32"}, {.context_max = ids.size() + 1},
                               sink, clock, [](size_t, size_t) {});
  EXPECT_TRUE(engine.ok()) << engine.status();
  if (!engine.ok()) return {};
  std::vector<TokenId> prompt;
  for (const int32_t id : ids) prompt.push_back(static_cast<TokenId>(id));
  EXPECT_TRUE((*engine)
                  ->scheduler()
                  .Submit(std::make_unique<router::Sequence>(
                      router::SequenceRequest{.id = router::SequenceRequest{}.id,
                                              .prompt = prompt,
                                              .sampling = {.max_tokens = 0},
                                              .wants_prompt_logits = true}))
                  .ok());
  while (!(*engine)->scheduler().idle()) EXPECT_TRUE((*engine)->Step().ok());
  EXPECT_TRUE(sink.status.ok()) << sink.status;
  return sink.logits;
}

ModelSpec Spec() {
  ModelSpec spec = testing::TinySpec();
  spec.layer_count = 6;
  spec.layer_kinds = {LayerKind::kSliding, LayerKind::kSliding, LayerKind::kSliding,
                      LayerKind::kFull,    LayerKind::kSliding, LayerKind::kFull};
  return spec;
}

std::vector<int32_t> Prompt(const ModelSpec& spec) {
  std::vector<int32_t> ids;
  Random random(8);
  for (size_t i = 0; i < 50; ++i) ids.push_back(static_cast<int32_t>(random.Below(spec.vocab)));
  return ids;
}

void ExpectEngineAgrees(ExpertFormat format) {
  const testing::TempFolder folder;
  Model model(Spec());
  ASSERT_TRUE(
      WriteModel(folder.path(), model.layout, {model.values, model.expert_bias}, format).ok());
  const std::vector<int32_t> ids = Prompt(model.layout.spec);
  if (format == ExpertFormat::kBf16) {
    // What was written, rounded.
    ASSERT_TRUE(ReadModel(folder.path(), model.layout, model.values, model.expert_bias).ok());
  }
  const std::vector<float> wanted = model.Logits(ids);
  const std::vector<float> got = EngineLogits(folder.path(), ids);
  ASSERT_EQ(got.size(), wanted.size());
  float worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - wanted[i]));
  // Experts rounded to eight bits change the numbers, but not what they mean.
  EXPECT_LT(worst, format == ExpertFormat::kBf16 ? 1e-4f : 1.0f);
  EXPECT_GT(worst, format == ExpertFormat::kBf16 ? -1.0f : 1e-3f);
}

TEST(ModelFilesTest, TheEngineComputesTheTrainersLogits) {
  ExpectEngineAgrees(ExpertFormat::kBf16);
}

TEST(ModelFilesTest, TheEngineReadsExpertsInEightBits) { ExpectEngineAgrees(ExpertFormat::kFp8); }

TEST(ModelFilesTest, ExpertsInEightBitsAreReadBack) {
  const testing::TempFolder folder;
  const Model model(Spec());
  ASSERT_TRUE(
      WriteModel(folder.path(), model.layout, {model.values, model.expert_bias}, ExpertFormat::kFp8)
          .ok());
  Model read(Spec());
  std::ranges::fill(read.values, 0.0f);
  ASSERT_TRUE(ReadModel(folder.path(), read.layout, read.values, read.expert_bias).ok());
  EXPECT_EQ(read.expert_bias, model.expert_bias);
  // Eight bits with three of them behind the point: a sixteenth of a number, or of its block's
  // smallest step.
  for (size_t i = 0; i < model.values.size(); ++i) {
    ASSERT_NEAR(read.values[i], model.values[i], std::abs(model.values[i]) / 16 + 1e-4f) << i;
  }
  EXPECT_NE(read.values, model.values);
}

TEST(ModelFilesTest, ConfigIsReadBackAsItWas) {
  const ModelSpec spec = Spec();
  for (const ExpertFormat format : {ExpertFormat::kBf16, ExpertFormat::kFp8}) {
    const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(ConfigText(spec, format));
    ASSERT_TRUE(document.ok()) << document.status();
    const absl::StatusOr<ModelSpec> read = ParseModelSpec(document->root());
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->layer_kinds, spec.layer_kinds);
    EXPECT_EQ(read->route_scale, spec.route_scale);
    EXPECT_EQ(read->quantization.has_value(), format == ExpertFormat::kFp8);
    EXPECT_EQ(ConfigText(*read, format), ConfigText(spec, format));
  }
}

TEST(ModelFilesTest, AnotherShapeIsRefusedByName) {
  const testing::TempFolder folder;
  const Model model(Spec());
  ASSERT_TRUE(WriteModel(folder.path(), model.layout, {model.values, model.expert_bias},
                         ExpertFormat::kBf16)
                  .ok());
  ModelSpec wider = Spec();
  wider.dense_width *= 2;
  Model other(wider);
  const absl::Status status =
      ReadModel(folder.path(), other.layout, other.values, other.expert_bias);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("model.layers.0.mlp.gate_proj.weight"), std::string::npos)
      << status;
}

TEST(ModelFilesTest, AFolderThatIsNotThere) {
  const Model model(Spec());
  EXPECT_EQ(WriteModel("/nowhere/at/all", model.layout, {model.values, model.expert_bias},
                       ExpertFormat::kBf16)
                .code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tessera::trainer
