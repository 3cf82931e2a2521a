#include "services/trainer/backward/row_pass.h"

#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "common/model/model_config.h"
#include "common/weights/checkpoint.h"
#include "tests/services/trainer/backward/small_model.h"
#include "tests/support/golden.h"

namespace tessera::trainer {
namespace {

// A checkpoint's tensors in the places of the layout.
void Load(const Checkpoint& checkpoint, SmallModel<float>& model) {
  const auto read = [&](const std::string& name, float* to) {
    const StoredTensor* stored = checkpoint.Find(name);
    ASSERT_NE(stored, nullptr) << name;
    size_t size = 1;
    for (const uint64_t extent : stored->shape) size *= extent;
    const TensorView view = {checkpoint.Bytes(*stored).data(), stored->dtype, 1, size, {}};
    ReadRow(view, 0, {to, size});
  };
  for (const Parameter& parameter : model.layout.parameters) {
    for (size_t i = 0; i < parameter.count; ++i) {
      read(absl::StrReplaceAll(parameter.name, {{"{}", std::to_string(i)}}),
           model.values.data() + parameter.offset + i * parameter.stride);
    }
  }
  const ModelSpec& spec = model.layout.spec;
  for (size_t i = 0; i < spec.moe_layer_count(); ++i) {
    read("model.layers." + std::to_string(i + spec.dense_layer_count) + ".mlp.expert_bias",
         model.expert_bias.data() + i * spec.expert_count);
  }
  model.Pack();
}

TEST(RowPassTest, LogitsAreThoseOfTheGoldenCheckpoints) {
  for (const char* name : testing::kGoldenNames) {
    const absl::StatusOr<testing::Golden> golden = testing::ReadGolden(name);
    ASSERT_TRUE(golden.ok()) << golden.status();
    const absl::StatusOr<ModelSpec> spec = ReadModelSpec(golden->model_dir);
    ASSERT_TRUE(spec.ok()) << spec.status();
    auto checkpoint = Checkpoint::Open(golden->model_dir);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    SmallModel<float> model(*spec);
    Load(**checkpoint, model);
    // All prompts in one row: a document must not see its neighbours.
    PackedRow row;
    row.documents.push_back(0);
    for (const testing::GoldenPrompt& prompt : golden->prompts) {
      for (const TokenId id : prompt.ids) row.ids.push_back(static_cast<int32_t>(id));
      row.documents.push_back(static_cast<uint32_t>(row.ids.size()));
    }
    row.targets.assign(row.ids.size(), PackedRow::kNoLoss);
    auto pass = RowPass<float>::Create(model.layout, row.ids.size());
    ASSERT_TRUE(pass.ok());
    const std::vector<float> logits = (*pass)->Logits(row, model.view());
    float worst = 0;
    for (size_t i = 0; i < golden->prompts.size(); ++i) {
      const auto& wanted = golden->prompts[i].logits;
      for (size_t t = 0; t < wanted.size(); ++t) {
        const float* got = logits.data() + (row.documents[i] + t) * spec->vocab;
        for (size_t v = 0; v < spec->vocab; ++v) {
          worst = std::max(worst, std::abs(got[v] - wanted[t][v]));
        }
      }
    }
    RecordProperty(name, std::to_string(worst));
    EXPECT_LT(worst, 1e-4f) << name;
  }
}

TEST(RowPassTest, ARunIsRepeatedToTheBit) {
  const ModelSpec spec = SmallSpec();
  const SmallModel<float> model(spec);
  auto pass = RowPass<float>::Create(model.layout, 200);
  ASSERT_TRUE(pass.ok());
  const PackedRow row = SmallRow(spec, {90, 60, 40}, 2);
  std::vector<float> first(model.layout.size), second(model.layout.size);
  (*pass)->Run(row, model.view(), {.z_weight = 1e-3}, first.data());
  (*pass)->Run(SmallRow(spec, {7}, 3), model.view(), {}, second.data());
  (*pass)->Run(row, model.view(), {.z_weight = 1e-3}, second.data());
  EXPECT_EQ(first, second);
}

// Who computed what changes no bit, neither of the loss nor of a gradient.
TEST(RowPassTest, ThreadsChangeNoBit) {
  const ModelSpec spec = SmallSpec();
  const SmallModel<float> model(spec);
  const PackedRow rows[] = {SmallRow(spec, {90, 130, 40, 7}, 2), SmallRow(spec, {33, 150, 64}, 3)};
  const PackedRow batch = JoinRows(rows);
  const LossOptions options = {.token_weight = 0.1, .z_weight = 1e-3, .balance_weight = 1e-2};
  const auto run = [&](ThreadPool* pool, std::vector<float>& gradients) {
    auto pass = RowPass<float>::Create(model.layout, batch.ids.size(), pool);
    EXPECT_TRUE(pass.ok());
    return (*pass)->Run(batch, model.view(), options, gradients.data());
  };
  std::vector<float> alone(model.layout.size), together(model.layout.size);
  const RowLoss wanted = run(nullptr, alone);
  ThreadPool pool({.thread_count = 3});
  for (size_t repeat = 0; repeat < 20; ++repeat) {
    const RowLoss got = run(&pool, together);
    EXPECT_EQ(got.cross_entropy, wanted.cross_entropy);
    EXPECT_EQ(got.balance, wanted.balance);
    EXPECT_EQ(got.counts, wanted.counts);
    ASSERT_EQ(alone, together);
  }
}

// A batch of two rows is the sum of both: no row sees the other, and each has its own balance loss.
TEST(RowPassTest, RowsOfABatchDoNotSeeEachOther) {
  const ModelSpec spec = SmallSpec();
  const SmallModel<float> model(spec);
  const PackedRow rows[] = {SmallRow(spec, {90, 30}, 2), SmallRow(spec, {33, 50, 64}, 3)};
  const LossOptions options = {.token_weight = 0.1, .z_weight = 1e-3, .balance_weight = 0.1};
  auto pass = RowPass<float>::Create(model.layout, 300);
  ASSERT_TRUE(pass.ok());
  std::vector<float> sum(model.layout.size), gradients(model.layout.size);
  RowLoss wanted;
  for (const PackedRow& row : rows) {
    const RowLoss loss = (*pass)->Run(row, model.view(), options, gradients.data());
    wanted.cross_entropy += loss.cross_entropy;
    wanted.balance += loss.balance;
    wanted.tokens += loss.tokens;
    wanted.hits += loss.hits;
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += gradients[i];
  }
  const RowLoss got = (*pass)->Run(JoinRows(rows), model.view(), options, gradients.data());
  EXPECT_NEAR(got.cross_entropy, wanted.cross_entropy, 1e-3);
  EXPECT_NEAR(got.balance, wanted.balance, 1e-6);
  EXPECT_EQ(got.tokens, wanted.tokens);
  EXPECT_EQ(got.hits, wanted.hits);
  for (const Parameter& parameter : model.layout.parameters) {
    double error = 0, size = 0;
    for (size_t i = 0; i < parameter.count * parameter.size(); ++i) {
      const size_t at =
          parameter.offset + i / parameter.size() * parameter.stride + i % parameter.size();
      error += std::pow(static_cast<double>(gradients[at]) - sum[at], 2);
      size += std::pow(static_cast<double>(sum[at]), 2);
    }
    EXPECT_LT(std::sqrt(error), 1e-5 * std::sqrt(size) + 1e-9) << parameter.name;
  }
}

}  // namespace
}  // namespace tessera::trainer
