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
      PackLinear(linear, values.data(), packed.data());
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

float LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

void ExpectEngineAgrees(ExpertFormat format) {
  const testing::TempFolder folder;
  Model model(Spec());
  ASSERT_TRUE(
      WriteModel(folder.path(), model.layout, {model.values, model.expert_bias}, format).ok());
  const std::vector<int32_t> ids = Prompt(model.layout.spec);
  const std::vector<float> unrounded = model.Logits(ids);
  // What was written, rounded.
  ASSERT_TRUE(ReadModel(folder.path(), model.layout, model.values, model.expert_bias).ok());
  const std::vector<float> wanted = model.Logits(ids);
  const std::vector<float> got = EngineLogits(folder.path(), ids);
  ASSERT_EQ(got.size(), wanted.size());
  // Both compute with the same float32 weights, in another order.
  EXPECT_LT(LargestDifference(got, wanted), 1e-4f);
  // Rounding is what changed the numbers: by far more than an order of sums can.
  EXPECT_GT(LargestDifference(unrounded, wanted), 1e-3f);
}

TEST(ModelFilesTest, TheEngineComputesTheTrainersLogits) {
  ExpectEngineAgrees(ExpertFormat::kBf16);
}

TEST(ModelFilesTest, TheEngineReadsExpertsInEightBits) { ExpectEngineAgrees(ExpertFormat::kFp8); }

// How far number k of a matrix may be from what was written.
//   norms  as they are
//   BF16   7 bits behind the point: half a step is at most 2^-8 of the number
//   E4M3   3 bits behind the point: 2^-4 of the number; below the smallest normal number, 2^-6, all
//          steps are 2^-9, so half of one is 2^-10: times the block's scale, its largest number /
//          448. A part in 2^18 more for the division by the scale and the product with it.
float RoundingBound(const Parameter& parameter, std::span<const float> matrix, size_t k) {
  if (parameter.kind == ParameterKind::kNorm) return 0;
  if (parameter.kind != ParameterKind::kExpert) return std::ldexp(std::abs(matrix[k]), -8);
  EXPECT_LE(std::max(parameter.rows, parameter.cols), 128u);  // one block
  float largest = 0;
  for (const float value : matrix) largest = std::max(largest, std::abs(value));
  return std::max(std::ldexp(std::abs(matrix[k]), -4), std::ldexp(largest / 448, -10)) *
         (1 + std::ldexp(1.0f, -18));
}

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
  for (const Parameter& parameter : model.layout.parameters) {
    for (size_t i = 0; i < parameter.count; ++i) {
      const size_t at = parameter.offset + i * parameter.stride;
      const std::span<const float> wrote = std::span(model.values).subspan(at, parameter.size());
      for (size_t k = 0; k < wrote.size(); ++k) {
        ASSERT_LE(std::abs(read.values[at + k] - wrote[k]), RoundingBound(parameter, wrote, k))
            << parameter.name << " " << k;
      }
    }
  }
  EXPECT_NE(read.values, model.values);
  // It is what a run settles on.
  Model rounded(Spec());
  RoundAsWritten(rounded.layout, ExpertFormat::kFp8, rounded.values);
  EXPECT_EQ(read.values, rounded.values);
}

TEST(ModelFilesTest, EveryBlockOfEightBitsHasItsScale) {
  ModelSpec spec = Spec();
  spec.d_model = 160;  // blocks of 128 and of 32 columns
  Model model(spec);
  for (const Parameter& parameter : model.layout.parameters) {
    if (parameter.kind != ParameterKind::kExpert) continue;
    for (size_t i = 0; i < parameter.count; ++i) {
      // What is small in one block would be nothing beside what is large in the other.
      float* values = model.values.data() + parameter.offset + i * parameter.stride;
      for (size_t k = 0; k < parameter.size(); ++k) {
        const bool second = std::max(k / parameter.cols, k % parameter.cols) >= 128;
        values[k] *= second ? 1e-6f : 1.0f;
      }
    }
  }
  const testing::TempFolder folder;
  ASSERT_TRUE(
      WriteModel(folder.path(), model.layout, {model.values, model.expert_bias}, ExpertFormat::kFp8)
          .ok());
  Model read(spec);
  ASSERT_TRUE(ReadModel(folder.path(), read.layout, read.values, read.expert_bias).ok());
  RoundAsWritten(model.layout, ExpertFormat::kFp8, model.values);
  EXPECT_EQ(read.values, model.values);
  for (const Parameter& parameter : model.layout.parameters) {
    if (parameter.kind != ParameterKind::kExpert) continue;
    const float* values = read.values.data() + parameter.offset;
    const size_t last = parameter.size() - 1;
    EXPECT_TRUE(values[last] != 0 || values[last - 1] != 0) << parameter.name;
  }
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
