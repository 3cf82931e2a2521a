#include "common/kernels/top_k.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/common/kernels/kernel_fixture.h"

namespace tessera::kernels {
namespace {

using ::testing::ElementsAre;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Chosen {
  std::vector<uint32_t> experts;
  std::vector<float> weights;
};

Chosen Select(Isa isa, const Matrix& logits, std::span<const float> bias,
              const GateOptions& options, size_t threads = 1) {
  Machine machine(isa, threads);
  Chosen chosen{.experts = std::vector<uint32_t>(logits.rows() * options.top_k),
                .weights = std::vector<float>(logits.rows() * options.top_k)};
  SelectExperts(machine.compute, logits.view(), bias, options, chosen.experts, chosen.weights);
  return chosen;
}

Matrix Row(std::initializer_list<float> values) {
  Matrix row(1, values.size());
  std::copy(values.begin(), values.end(), row.values().begin());
  return row;
}

class SelectExpertsTest : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() == Isa::kAvx2) TESSERA_NEEDS_AVX2();
  }
};

INSTANTIATE_TEST_SUITE_P(Levels, SelectExpertsTest, ::testing::Values(Isa::kReference, Isa::kAvx2),
                         [](const auto& info) {
                           return info.param == Isa::kAvx2 ? "Avx2" : "Reference";
                         });

TEST_P(SelectExpertsTest, WeightsAreNormalisedSigmoidsInAscendingId) {
  const Matrix logits = Row({0.0f, 2.0f, -1.0f, 1.0f});
  const Chosen chosen =
      Select(GetParam(), logits, {}, {.top_k = 2, .normalize = true, .scale = 2.5f});
  EXPECT_THAT(chosen.experts, ElementsAre(1, 3));
  const double a = 1 / (1 + std::exp(-2.0));
  const double b = 1 / (1 + std::exp(-1.0));
  EXPECT_NEAR(chosen.weights[0], 2.5 * a / (a + b), 1e-6);
  EXPECT_NEAR(chosen.weights[1], 2.5 * b / (a + b), 1e-6);
}

TEST_P(SelectExpertsTest, BiasDecidesTheChoiceButNotTheWeight) {
  const Matrix logits = Row({3.0f, 0.0f, -2.0f});
  const std::vector<float> bias = {-1.0f, 0.0f, 1.0f};
  const Chosen chosen = Select(GetParam(), logits, bias, {.top_k = 1, .normalize = false});
  EXPECT_THAT(chosen.experts, ElementsAre(2));
  EXPECT_NEAR(chosen.weights[0], 1 / (1 + std::exp(2.0)), 1e-7);
}

TEST_P(SelectExpertsTest, TiesGoToTheLowerId) {
  Matrix logits(1, 130);  // all equal, then a higher pair far apart
  EXPECT_THAT(Select(GetParam(), logits, {}, {.top_k = 3}).experts, ElementsAre(0, 1, 2));
  logits.row(0)[129] = logits.row(0)[7] = 1.0f;
  EXPECT_THAT(Select(GetParam(), logits, {}, {.top_k = 3}).experts, ElementsAre(0, 7, 129));
  EXPECT_THAT(Select(GetParam(), logits, {}, {.top_k = 1}).experts, ElementsAre(7));
}

TEST_P(SelectExpertsTest, NaNComesLastAndIdsStayInRange) {
  Matrix logits = Row({kNaN, -50.0f, kNaN, -60.0f, kNaN});
  EXPECT_THAT(Select(GetParam(), logits, {}, {.top_k = 2}).experts, ElementsAre(1, 3));
  EXPECT_THAT(Select(GetParam(), logits, {}, {.top_k = 4}).experts, ElementsAre(0, 1, 2, 3));
  logits.Fill(kNaN);
  const Chosen chosen = Select(GetParam(), logits, {}, {.top_k = 3});
  EXPECT_THAT(chosen.experts, ElementsAre(0, 1, 2));
  EXPECT_TRUE(std::isnan(chosen.weights[0]));
  const std::vector<float> bias(5, -kInfinity);
  logits.Fill(1.0f);
  EXPECT_THAT(Select(GetParam(), logits, bias, {.top_k = 5}).experts, ElementsAre(0, 1, 2, 3, 4));
}

TEST_P(SelectExpertsTest, EqualsASortAtOddSizes) {
  for (const size_t experts : {1, 3, 8, 31, 128, 255, 256}) {
    for (const size_t top_k :
         {size_t{1}, std::min<size_t>(4, experts), std::min<size_t>(8, experts)}) {
      const Matrix logits = RandomMatrix(37, experts, experts + top_k, 4.0);
      const Matrix bias = RandomMatrix(1, experts, experts, 0.5);
      const Chosen chosen =
          Select(GetParam(), logits, bias.row(0), {.top_k = top_k, .scale = 2.448f}, 2);
      for (size_t r = 0; r < logits.rows(); ++r) {
        std::vector<uint32_t> ids(experts);
        std::iota(ids.begin(), ids.end(), 0u);
        const auto key = [&](uint32_t i) {
          return 1 / (1 + std::exp(-static_cast<double>(logits.row(r)[i]))) + bias.row(0)[i];
        };
        std::stable_sort(ids.begin(), ids.end(),
                         [&](uint32_t a, uint32_t b) { return key(a) > key(b); });
        ids.resize(top_k);
        std::sort(ids.begin(), ids.end());
        float sum = 0;
        for (size_t i = 0; i < top_k; ++i) {
          EXPECT_EQ(chosen.experts[r * top_k + i], ids[i]) << "experts " << experts << " row " << r;
          sum += chosen.weights[r * top_k + i];
        }
        EXPECT_NEAR(sum, 2.448f, 1e-5);
      }
    }
  }
}

TEST(SelectExpertsBitsTest, DoNotDependOnCompanyOrThreads) {
  const Matrix logits = RandomMatrix(500, 128, 11, 3.0);  // enough for a parallel region
  const GateOptions options = {.top_k = 8, .scale = 2.826f};
  const Chosen one = Select(LocalIsa(), logits, {}, options, 1);
  const Chosen two = Select(LocalIsa(), logits, {}, options, 2);
  EXPECT_EQ(one.experts, two.experts);
  EXPECT_TRUE(SameBits(one.weights, two.weights));
  for (size_t r = 0; r < 500; r += 99) {
    Matrix row(1, 128);
    std::copy_n(logits.row(r).begin(), 128, row.row(0).begin());
    const Chosen alone = Select(LocalIsa(), row, {}, options);
    EXPECT_TRUE(SameBits(alone.weights, std::span(one.weights).subspan(r * 8, 8)));
  }
}

std::vector<uint32_t> TopKByStableSort(std::span<const float> values, size_t k) {
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < values.size(); ++i) {
    if (!std::isnan(values[i])) ids.push_back(i);
  }
  std::stable_sort(ids.begin(), ids.end(),
                   [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
  ids.resize(std::min(k, ids.size()));
  return ids;
}

TEST(TopKTest, EqualsAStableSort) {
  Random random(5);
  for (const Isa isa : {Isa::kReference, LocalIsa()}) {
    for (const size_t size : {1, 2, 17, 63, 65, 1000, 20000}) {
      std::vector<float> values(size);
      // 50 different numbers only: ties everywhere; a few NaN.
      for (float& v : values)
        v = random.Below(20) == 0 ? kNaN : static_cast<float>(random.Below(50));
      for (const size_t k : {0, 1, 2, 7, 50, 1000, 30000}) {
        EXPECT_EQ(TopK(values, k, isa), TopKByStableSort(values, k)) << size << " " << k;
      }
      for (float& v : values) v = static_cast<float>(random.Uniform());
      for (const size_t k : {1, 20, 300}) {
        EXPECT_EQ(TopK(values, k, isa), TopKByStableSort(values, k)) << size << " " << k;
      }
    }
  }
}

TEST(TopKTest, NaNIsNeverChosen) {
  std::vector<float> values(100, kNaN);
  EXPECT_TRUE(TopK(values, 3).empty());
  values[40] = -kInfinity;
  EXPECT_THAT(TopK(values, 3), ElementsAre(40));
  EXPECT_TRUE(TopK({}, 3).empty());
}

}  // namespace
}  // namespace tessera::kernels
