#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/services/trainer/backward/small_model.h"

namespace tessera::trainer {
namespace {

constexpr size_t kTokens = 64;

struct Check {
  ModelSpec spec;
  LossOptions options;
};

// What Run's gradients belong to.
double Objective(const Check& check, const RowLoss& loss) {
  return check.options.token_weight *
             (loss.cross_entropy + check.options.z_weight * loss.log_sum_square) +
         check.options.balance_weight * loss.balance;
}

// Central differences over a few numbers of every parameter against the gradients of Run: per kind
// of parameter the norm of the difference over the norm of the gradient.
std::map<ParameterKind, double> Errors(const Check& check) {
  SmallModel<double> model(check.spec);
  const PackedRow row = SmallRow(check.spec, {19, 5, 12}, 3);
  auto pass = RowPass<double>::Create(model.layout, kTokens);
  EXPECT_TRUE(pass.ok());
  std::vector<double> gradients(model.layout.size, std::nan(""));
  (*pass)->Run(row, model.view(), check.options, gradients.data());
  std::map<ParameterKind, std::pair<double, double>> squares;
  Random random(5);
  const auto objective = [&] {
    model.Pack();
    const RowLoss loss = (*pass)->Evaluate(row, model.view(), check.options);
    return Objective(check, loss);
  };
  for (const Parameter& parameter : model.layout.parameters) {
    for (size_t draw = 0; draw < 3; ++draw) {
      const size_t at = parameter.offset + random.Below(parameter.count) * parameter.stride +
                        random.Below(parameter.size());
      const double before = model.values[at], step = 1e-5;
      model.values[at] = before + step;
      const double above = objective();
      model.values[at] = before - step;
      const double below = objective();
      model.values[at] = before;
      const double numeric = (above - below) / (2 * step);
      auto& [error, size] = squares[parameter.kind];
      error += (numeric - gradients[at]) * (numeric - gradients[at]);
      size += numeric * numeric;
    }
  }
  std::map<ParameterKind, double> errors;
  for (const auto& [kind, square] : squares) {
    EXPECT_GT(square.second, 1e-12) << "no gradient at all";
    errors[kind] = std::sqrt(square.first / square.second);
  }
  return errors;
}

void ExpectRight(const Check& check) {
  for (const auto& [kind, error] : Errors(check)) {
    EXPECT_LT(error, 1e-4) << "parameter kind " << static_cast<int>(kind);
    ::testing::Test::RecordProperty("relative_error_kind_" + std::to_string(static_cast<int>(kind)),
                                    std::to_string(error));
  }
}

TEST(GradientTest, EveryParameterKindAgreesWithCentralDifferences) {
  ExpectRight({SmallSpec(), {.token_weight = 0.1, .z_weight = 1e-2}});
}

TEST(GradientTest, WithoutNormalisedRoutingSharedExpertOrScaledEmbeddings) {
  ModelSpec spec = SmallSpec();
  spec.route_normalize = false;
  spec.shared_expert_count = 0;
  spec.embedding_scaled = false;
  spec.kv_heads = 1;
  ExpectRight({spec, {.token_weight = 1}});
}

// The balance loss from its definition, as a function of all weights: its gradient is what Run adds
// when it has a weight.
TEST(GradientTest, BalanceLossFollowsItsDefinition) {
  const Check check = {SmallSpec(), {.token_weight = 0.1, .balance_weight = 0.3}};
  ExpectRight(check);
}

TEST(GradientTest, FloatAgreesWithDouble) {
  const ModelSpec spec = SmallSpec();
  SmallModel<float> single(spec);
  SmallModel<double> both(spec);
  // The same numbers: those that float holds.
  const PackedRow row = SmallRow(spec, {19, 5, 12}, 3);
  for (size_t i = 0; i < both.expert_bias.size(); ++i) both.expert_bias[i] = single.expert_bias[i];
  auto float_pass = RowPass<float>::Create(single.layout, kTokens);
  auto double_pass = RowPass<double>::Create(both.layout, kTokens);
  ASSERT_TRUE(float_pass.ok() && double_pass.ok());
  std::vector<float> got(single.layout.size);
  std::vector<double> wanted(both.layout.size);
  const LossOptions options = {.token_weight = 0.1, .z_weight = 1e-3, .balance_weight = 1e-2};
  const RowLoss float_loss = (*float_pass)->Run(row, single.view(), options, got.data());
  const RowLoss double_loss = (*double_pass)->Run(row, both.view(), options, wanted.data());
  EXPECT_EQ(float_loss.counts, double_loss.counts);
  EXPECT_NEAR(float_loss.cross_entropy, double_loss.cross_entropy, 1e-3);
  EXPECT_EQ(float_loss.tokens, double_loss.tokens);
  for (const Parameter& parameter : both.layout.parameters) {
    double error = 0, size = 0;
    for (size_t i = 0; i < parameter.count; ++i) {
      for (size_t j = 0; j < parameter.size(); ++j) {
        const size_t at = parameter.offset + i * parameter.stride + j;
        const double difference = static_cast<double>(got[at]) - wanted[at];
        error += difference * difference;
        size += wanted[at] * wanted[at];
      }
    }
    EXPECT_LT(std::sqrt(error), 1e-4 * std::sqrt(size) + 1e-9) << parameter.name;
  }
}

}  // namespace
}  // namespace tessera::trainer
