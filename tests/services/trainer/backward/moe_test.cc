#include "services/trainer/backward/moe.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/services/trainer/backward/small_model.h"

namespace tessera::trainer {
namespace {

TEST(MoeTest, EveryTokenHasItsExpertsAndNoneIsDropped) {
  const ModelSpec spec = SmallSpec();
  SmallModel<float> model(spec);
  // All tokens want expert 5 of the first MoE layer.
  std::fill(model.expert_bias.begin(), model.expert_bias.end(), 0.0f);
  model.expert_bias[5] = 10.0f;
  auto pass = RowPass<float>::Create(model.layout, 300);
  ASSERT_TRUE(pass.ok());
  const PackedRow row = SmallRow(spec, {120, 150}, 1);
  const RowLoss loss = (*pass)->Evaluate(row, model.view(), {});
  ASSERT_EQ(loss.counts.size(), spec.moe_layer_count());
  EXPECT_EQ(loss.counts[0][5], 270u);
  for (const std::vector<uint32_t>& counts : loss.counts) {
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0u), 270 * spec.top_k);
  }
}

// What no row visits has a gradient of 0, not what stood in memory.
TEST(MoeTest, AnUnusedExpertHasNoGradient) {
  const ModelSpec spec = SmallSpec();
  SmallModel<float> model(spec);
  for (size_t layer = 0; layer < spec.moe_layer_count(); ++layer) {
    model.expert_bias[layer * spec.expert_count + 2] = -10.0f;
  }
  auto pass = RowPass<float>::Create(model.layout, 64);
  ASSERT_TRUE(pass.ok());
  std::vector<float> gradients(model.layout.size, 77.0f);
  const RowLoss loss = (*pass)->Run(SmallRow(spec, {50}, 1), model.view(), {}, gradients.data());
  EXPECT_EQ(loss.counts[0][2], 0u);
  for (const Parameter& parameter : model.layout.parameters) {
    if (parameter.kind != ParameterKind::kExpert) continue;
    const float* of_two = gradients.data() + parameter.offset + 2 * parameter.stride;
    for (size_t i = 0; i < parameter.size(); ++i) ASSERT_EQ(of_two[i], 0.0f) << parameter.name;
  }
}

}  // namespace
}  // namespace tessera::trainer
