#include "services/trainer/run/expert_load.h"

#include <gtest/gtest.h>

#include <numeric>

#include "services/trainer/optimizer/expert_balance.h"
#include "services/trainer/run/trainer.h"
#include "tests/services/trainer/run/copying_documents.h"
#include "tests/support/tiny_model.h"

namespace tessera::trainer {
namespace {

ModelSpec Spec() {
  ModelSpec spec = testing::TinySpec();
  spec.vocab = 24;
  return spec;
}

struct Model {
  explicit Model(const ModelSpec& spec)
      : layout(*ParameterLayout::Of(spec)),
        values(layout.size),
        expert_bias(spec.moe_layer_count() * spec.expert_count) {
    InitializeWeights(layout, 5, values);
  }
  absl::StatusOr<ExpertLoad> Measure(size_t tokens, size_t threads) const {
    const CopyingDocuments documents(layout.spec.vocab);
    ThreadPool pool({.thread_count = threads, .spin_rounds = 0});
    return MeasureExpertLoad(layout, {values, expert_bias}, documents,
                             {.tokens = tokens, .row_tokens = 128, .seed = 3}, pool);
  }

  ParameterLayout layout;
  std::vector<float> values;
  std::vector<float> expert_bias;
};

TEST(ExpertLoadTest, WindowsAreCountedAndThreadsChangeNothing) {
  const Model model(Spec());
  const absl::StatusOr<ExpertLoad> one = model.Measure(40'000, 1), two = model.Measure(40'000, 2);
  ASSERT_TRUE(one.ok() && two.ok()) << one.status() << two.status();
  EXPECT_GE(one->tokens, 40'000u);
  EXPECT_LT(one->tokens, 42'000u);
  EXPECT_EQ(one->windows, 2u);
  ASSERT_EQ(one->layers.size(), model.layout.spec.moe_layer_count());
  EXPECT_EQ(one->loss, two->loss);
  EXPECT_EQ(one->chance, two->chance);
  for (size_t i = 0; i < one->layers.size(); ++i) {
    EXPECT_EQ(one->layers[i].mean_over_max, two->layers[i].mean_over_max);
    EXPECT_LE(one->layers[i].mean_over_max_least, one->layers[i].mean_over_max);
    EXPECT_GT(one->layers[i].mean_over_max, 0);
    EXPECT_LT(one->layers[i].mean_over_max, 1);
  }
  // A model that has learned nothing predicts one token of 24 here and there.
  EXPECT_GT(one->loss, 2.0);
  EXPECT_LT(one->accuracy, 0.5);
  EXPECT_GT(one->chance, 0.9);
  EXPECT_LT(one->chance, 1.0);
}

// The bias alone chooses: top_k experts get everything, so all figures are known.
TEST(ExpertLoadTest, OneSidedRoutingIsSeenLayerByLayer) {
  Model model(Spec());
  const ModelSpec& spec = model.layout.spec;
  for (size_t i = 0; i < spec.top_k; ++i) model.expert_bias[i] = 100;
  const absl::StatusOr<ExpertLoad> load = model.Measure(20'000, 1);
  ASSERT_TRUE(load.ok()) << load.status();
  const double share = static_cast<double>(spec.top_k) / static_cast<double>(spec.expert_count);
  const LayerLoad& pushed = load->layers[0];
  EXPECT_DOUBLE_EQ(pushed.mean_over_max, share);
  EXPECT_DOUBLE_EQ(pushed.mean_over_max_least, share);
  EXPECT_DOUBLE_EQ(pushed.max_violation, 1 / share - 1);
  EXPECT_DOUBLE_EQ(pushed.jain, share);
  EXPECT_DOUBLE_EQ(pushed.unused, static_cast<double>(spec.expert_count - spec.top_k));
  EXPECT_EQ(pushed.never_used, spec.expert_count - spec.top_k);
  double sum = 0;
  for (const LayerLoad& layer : load->layers) sum += layer.mean_over_max;
  EXPECT_DOUBLE_EQ(load->mean_over_max(), sum / static_cast<double>(load->layers.size()));
  for (size_t i = 1; i < load->layers.size(); ++i) EXPECT_GT(load->layers[i].mean_over_max, share);
}

TEST(ExpertLoadTest, WhatCannotBeMeasuredIsNamed) {
  const absl::Status few = Model(Spec()).Measure(1000, 1).status();
  EXPECT_EQ(few.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(few.message().find("16384"), std::string::npos) << few;
  ModelSpec dense = Spec();
  dense.dense_layer_count = dense.layer_count;
  dense.dense_width = 64;
  const absl::Status none = Model(dense).Measure(20'000, 1).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(none.message().find("no experts"), std::string::npos) << none;
}

}  // namespace
}  // namespace tessera::trainer
