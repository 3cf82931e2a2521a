#include "common/kernels/swiglu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "tests/common/kernels/weights_for_tests.h"

namespace tessera::kernels {
namespace {

// How a network's weights are stored.
enum class Storage { kF32, kBF16, kQ8, kQ4, kBorrowedF32, kBorrowedBF16, kApart };
constexpr Storage kStorages[] = {Storage::kF32,  Storage::kBF16,        Storage::kQ8,
                                 Storage::kQ4,   Storage::kBorrowedF32, Storage::kBorrowedBF16,
                                 Storage::kApart};

// A network and the tensors it may borrow.
struct Network {
  StoredWeights gate;
  StoredWeights up;
  StoredWeights down;
  SwiGluWeights weights;
};

std::unique_ptr<Network> MakeNetwork(Storage storage, size_t d_model, size_t width, uint64_t seed) {
  const bool wide = storage == Storage::kF32 || storage == Storage::kBorrowedF32;
  const DType dtype = wide ? DType::kF32 : DType::kBF16;
  auto network = std::make_unique<Network>();
  network->gate = RandomWeights(dtype, width, d_model, seed);
  network->up = RandomWeights(dtype, width, d_model, seed + 1);
  network->down = RandomWeights(dtype, d_model, width, seed + 2);
  SwiGluWeights& weights = network->weights;
  if (storage == Storage::kBorrowedF32 || storage == Storage::kBorrowedBF16) {
    weights.gate = BorrowOrDie(network->gate.view);
    weights.up = BorrowOrDie(network->up.view);
    weights.down = BorrowOrDie(network->down.view);
  } else if (storage == Storage::kApart) {
    weights.gate = PackOrDie(network->gate.view, WeightType::kQ8);
    weights.up = PackOrDie(network->up.view, WeightType::kQ8);
    weights.down = PackOrDie(network->down.view, WeightType::kQ8);
  } else {
    const WeightType type = storage == Storage::kF32    ? WeightType::kF32
                            : storage == Storage::kBF16 ? WeightType::kBF16
                            : storage == Storage::kQ8   ? WeightType::kQ8
                                                        : WeightType::kQ4;
    weights.gate_up = PackGateUpOrDie(network->gate.view, network->up.view, type);
    weights.down = PackOrDie(network->down.view, type);
  }
  return network;
}

class SwiGluTest : public ::testing::TestWithParam<Storage> {
 protected:
  Compute ComputeOf(const Level& level, Arithmetic arithmetic) {
    return {.pool = pool_,
            .features = level.Features(),
            .isa = level.isa,
            .arithmetic = arithmetic,
            .scratch = &scratch_};
  }
  // Levels of this CPU; matmul_test says which are missing.
  static std::vector<Level> Levels() {
    std::vector<Level> levels;
    for (const Level& level : kLevels) {
      if (level.Present()) levels.push_back(level);
    }
    return levels;
  }
  static Matrix Run(const Compute& compute, const SwiGluWeights& weights, ConstMatrixView x) {
    Matrix y(x.rows(), weights.d_model());
    y.Fill(std::numeric_limits<float>::quiet_NaN());
    SwiGlu(compute, weights, x, y.view());
    return y;
  }

  ThreadPool pool_{ThreadPoolConfig{.thread_count = 3}};
  Scratch scratch_;
};

// A result and how far a level may be from it.
struct Bounded {
  std::vector<double> value;
  std::vector<double> error;
};

// x times the rows [first, first + count) of `weights`, with x itself off by at most x_error.
Bounded Multiply(const Level& level, Arithmetic arithmetic, const WeightMatrix& weights,
                 size_t first, size_t count, std::span<const float> x,
                 std::span<const double> x_error) {
  Bounded result{std::vector<double>(count), std::vector<double>(count)};
  std::vector<float> w(weights.inputs());
  for (size_t n = 0; n < count; ++n) {
    weights.ReadRow(first + n, w);
    for (size_t k = 0; k < w.size(); ++k) {
      result.value[n] += static_cast<double>(w[k]) * x[k];
      if (!x_error.empty()) result.error[n] += std::fabs(w[k]) * x_error[k];
    }
    // The bound itself is taken at x, which is off by a few parts in 2^20: hence 1.01.
    result.error[n] += 1.01 * ProductTolerance(level, arithmetic, weights, w, x);
  }
  return result;
}

// The network in double, with the errors of its products carried on: the slope of silu is at most
// 1.1, its own error and that of the product below 2^-21 relative.
Bounded ExactNetwork(const Level& level, Arithmetic arithmetic, const SwiGluWeights& weights,
                     std::span<const float> x) {
  const bool woven = !weights.gate_up.empty();
  const WeightMatrix& gate_weights = woven ? weights.gate_up : weights.gate;
  const WeightMatrix& up_weights = woven ? weights.gate_up : weights.up;
  const size_t first_up = woven ? up_weights.outputs() / 2 : 0;
  const size_t width = weights.width();
  const Bounded gate = Multiply(level, arithmetic, gate_weights, 0, width, x, {});
  const Bounded up = Multiply(level, arithmetic, up_weights, first_up, width, x, {});
  std::vector<float> act(width);
  std::vector<double> act_error(width);
  for (size_t j = 0; j < width; ++j) {
    const double silu = gate.value[j] / (1 + std::exp(-gate.value[j]));
    act[j] = static_cast<float>(silu * up.value[j]);
    act_error[j] = 1.1 * gate.error[j] * std::fabs(up.value[j]) +
                   (std::fabs(silu) + 1.1 * gate.error[j]) * up.error[j] +
                   0x1p-21 * std::fabs(act[j]);
  }
  return Multiply(level, arithmetic, weights.down, 0, weights.d_model(), act, act_error);
}

TEST_P(SwiGluTest, EveryLevelStaysWithinItsBoundForOddSizes) {
  std::vector<Level> levels = Levels();
  levels.push_back({Isa::kReference});
  for (const auto& [d_model, width] :
       std::vector<std::pair<size_t, size_t>>{{1, 1}, {17, 3}, {65, 100}, {100, 63}, {64, 260}}) {
    const auto network = MakeNetwork(GetParam(), d_model, width, d_model + width);
    for (const size_t rows : {size_t{0}, size_t{1}, size_t{7}, size_t{60}}) {
      const Matrix x = RandomRows(rows, d_model, rows);
      for (const Level& level : levels) {
        for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kFast}) {
          const Matrix y = Run(ComputeOf(level, arithmetic), network->weights, x.view());
          for (size_t r = 0; r < rows; ++r) {
            const Bounded exact = ExactNetwork(level, arithmetic, network->weights, x.row(r));
            for (size_t c = 0; c < d_model; ++c) {
              // Written so that NaN fails.
              ASSERT_TRUE(std::fabs(y.row(r)[c] - exact.value[c]) <= exact.error[c])
                  << level.Name() << " row " << r << " of " << rows << " column " << c << " of "
                  << d_model << ": " << y.row(r)[c] << " for " << exact.value[c] << " +- "
                  << exact.error[c];
            }
          }
        }
      }
    }
  }
}

// Groups over `networks` that name random rows of x.
struct Grouping {
  std::vector<std::vector<uint32_t>> rows;
  std::vector<std::vector<float>> row_weights;
  std::vector<ExpertGroup> groups;
  size_t pair_count = 0;
};

Grouping MakeGrouping(const std::vector<std::unique_ptr<Network>>& networks,
                      const std::vector<size_t>& sizes, size_t x_rows, uint64_t seed) {
  Grouping grouping;
  Random random(seed);
  for (const size_t size : sizes) {
    std::vector<uint32_t> rows(size);
    std::vector<float> weights(size);
    for (size_t i = 0; i < size; ++i) {
      rows[i] = static_cast<uint32_t>(random.Below(x_rows));
      weights[i] = static_cast<float>(random.Uniform()) + 0.1f;
    }
    grouping.rows.push_back(std::move(rows));
    grouping.row_weights.push_back(std::move(weights));
    grouping.pair_count += size;
  }
  for (size_t g = 0; g < sizes.size(); ++g) {
    grouping.groups.push_back({.weights = &networks[g]->weights,
                               .rows = grouping.rows[g],
                               .row_weights = grouping.row_weights[g]});
  }
  return grouping;
}

// Even and uneven groups, fewer and more than the three threads, empty ones, a giant.
const std::vector<std::vector<size_t>> kGroupSizes = {{1},
                                                      {5},
                                                      {1, 1},
                                                      {1, 1, 1},
                                                      {2, 1, 3, 1},
                                                      {60, 1, 1},
                                                      {1, 0, 1, 0},
                                                      {0, 0, 0, 2},
                                                      {33, 7, 6, 5, 2, 1, 1},
                                                      {1, 1, 1, 1, 1, 1, 1},
                                                      {}};

TEST_P(SwiGluTest, GroupedEqualsEachRowAloneToTheBit) {
  constexpr size_t kModel = 72;
  std::vector<std::unique_ptr<Network>> networks;
  for (uint64_t g = 0; g < 7; ++g) networks.push_back(MakeNetwork(GetParam(), kModel, 80, g * 10));
  const Matrix x = RandomRows(40, kModel, 1);
  for (const Level& level : Levels()) {
    for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kFast}) {
      const Compute compute = ComputeOf(level, arithmetic);
      for (const std::vector<size_t>& sizes : kGroupSizes) {
        const Grouping grouping = MakeGrouping(networks, sizes, x.rows(), sizes.size());
        Matrix out(grouping.pair_count, kModel);
        out.Fill(std::numeric_limits<float>::quiet_NaN());
        GroupedSwiGlu(compute, grouping.groups, x.view(), out.view());
        size_t pair = 0;
        for (const ExpertGroup& group : grouping.groups) {
          for (size_t i = 0; i < group.rows.size(); ++i, ++pair) {
            const Matrix alone = Run(compute, *group.weights, x.view().Rows(group.rows[i], 1));
            for (size_t c = 0; c < kModel; ++c) {
              ASSERT_EQ(out.row(pair)[c], group.row_weights[i] * alone.row(0)[c])
                  << "pair " << pair << " of " << grouping.pair_count << " column " << c;
            }
          }
        }
      }
    }
  }
}

// Rows in the order of arrival lie anywhere, unaligned.
TEST_P(SwiGluTest, RowsThatLieApartGiveTheBitsOfAMatrix) {
  constexpr size_t kModel = 72;
  std::vector<std::unique_ptr<Network>> networks;
  for (uint64_t g = 0; g < 4; ++g) networks.push_back(MakeNetwork(GetParam(), kModel, 80, g * 10));
  const Matrix x = RandomRows(12, kModel, 1);
  std::vector<std::vector<float>> apart;
  std::vector<const float*> row_at;
  for (size_t r = 0; r < x.rows(); ++r) {
    const std::span<const float> row = x.row(r);
    apart.emplace_back(1 + r % 3, 0.0f).insert(apart.back().end(), row.begin(), row.end());
  }
  for (size_t r = 0; r < x.rows(); ++r) row_at.push_back(apart[r].data() + 1 + r % 3);
  const Grouping grouping = MakeGrouping(networks, {9, 1, 0, 5}, x.rows(), 3);
  std::vector<Level> levels = Levels();
  levels.push_back({Isa::kReference});
  for (const Level& level : levels) {
    const Compute compute = ComputeOf(level, Arithmetic::kFast);
    Matrix together(grouping.pair_count, kModel);
    Matrix out(grouping.pair_count, kModel);
    GroupedSwiGlu(compute, grouping.groups, x.view(), together.view());
    GroupedSwiGlu(compute, grouping.groups, {row_at, kModel}, out.view());
    EXPECT_TRUE(std::ranges::equal(out.values(), together.values()));
  }
}

TEST_P(SwiGluTest, ReferenceGroupsAreRowsOfTheReferenceNetwork) {
  std::vector<std::unique_ptr<Network>> networks;
  for (uint64_t g = 0; g < 2; ++g) networks.push_back(MakeNetwork(GetParam(), 20, 24, g * 10));
  const Matrix x = RandomRows(4, 20, 1);
  const Grouping grouping = MakeGrouping(networks, {2, 3}, 4, 5);
  const Compute compute = ComputeOf({Isa::kReference}, Arithmetic::kFloat32);
  Matrix out(5, 20);
  GroupedSwiGlu(compute, grouping.groups, x.view(), out.view());
  const Matrix alone = Run(compute, networks[1]->weights, x.view());
  for (size_t i = 0; i < 3; ++i) {
    for (size_t c = 0; c < 20; ++c) {
      EXPECT_EQ(out.row(2 + i)[c], grouping.row_weights[1][i] * alone.row(grouping.rows[1][i])[c]);
    }
  }
}

// The reference against the formula written out once more, without ReadRow or packed weights.
TEST(SwiGluReferenceTest, FollowsTheFormula) {
  const std::vector<float> gate = {1.0f, 0.5f};   // [1, 2]
  const std::vector<float> up = {-1.0f, 2.0f};    // [1, 2]
  const std::vector<float> down = {3.0f, -2.0f};  // [2, 1]
  const auto view = [](const std::vector<float>& values, size_t rows, size_t cols) {
    return TensorView{.data = reinterpret_cast<const std::byte*>(values.data()),
                      .dtype = DType::kF32,
                      .rows = rows,
                      .cols = cols};
  };
  SwiGluWeights weights;
  weights.gate_up = PackGateUpOrDie(view(gate, 1, 2), view(up, 1, 2), WeightType::kF32);
  weights.down = PackOrDie(view(down, 2, 1), WeightType::kF32);
  Matrix x(1, 2);
  x.row(0)[0] = 2.0f;
  x.row(0)[1] = 3.0f;
  ThreadPool pool(ThreadPoolConfig{.thread_count = 1});
  Matrix y(1, 2);
  SwiGlu({.pool = pool, .features = {}}, weights, x.view(), y.view());
  const float act = 3.5f / (1.0f + std::exp(-3.5f)) * 4.0f;
  EXPECT_NEAR(y.row(0)[0], 3 * act, 1e-5);
  EXPECT_NEAR(y.row(0)[1], -2 * act, 1e-5);
}

std::string StorageName(const ::testing::TestParamInfo<Storage>& info) {
  const std::vector<std::string> names = {"F32",         "BF16",         "Q8",   "Q4",
                                          "BorrowedF32", "BorrowedBF16", "Apart"};
  return names[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Storages, SwiGluTest, ::testing::ValuesIn(kStorages), StorageName);

}  // namespace
}  // namespace tessera::kernels
