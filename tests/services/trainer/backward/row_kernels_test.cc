#include "services/trainer/backward/row_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "common/base/random.h"
#include "services/trainer/backward/gemm_levels.h"
#include "services/trainer/backward/row_kernel_table.h"
#include "tests/services/trainer/backward/bits.h"

namespace tessera::trainer {
namespace {

using Table = RowKernelTable<float>;

std::vector<float> Numbers(size_t n, uint64_t seed, double size = 6) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& value : x) value = static_cast<float>(size * (random.Uniform() - 0.5));
  return x;
}

constexpr size_t kRows = 3;

// Memory that a kernel may write begins equal for both levels and must end equal, bit for bit.
class LevelsTest : public testing::TestWithParam<size_t> {
 protected:
  using Run = std::function<void(const Table& kernels, size_t n, float* out)>;

  void SetUp() override {
    if (!CpuHasAvx512()) GTEST_SKIP() << "this CPU lacks AVX-512";
  }
  // `out` has room for 8 * kRows rows of n numbers and 64 more.
  void ExpectEqual(const Run& run) {
    const size_t n = GetParam();
    std::vector<float> wanted = Numbers(8 * kRows * n + 64, 1), got = wanted;
    run(RowKernelsAvx2(), n, wanted.data());
    run(RowKernelsAvx512(), n, got.data());
    EXPECT_EQ(BitsOf(got), BitsOf(wanted));
  }
  std::vector<float> x_ = Numbers(4 * kRows * GetParam(), 2);
  std::vector<float> y_ = Numbers(4 * kRows * GetParam(), 3);
  std::vector<float> z_ = Numbers(4 * kRows * GetParam(), 4);
};

TEST_P(LevelsTest, Norms) {
  ExpectEqual([&](const Table& kernels, size_t n, float* out) {
    const NormArgs<float> args = {kRows, n, z_.data(), 1e-5f};
    kernels.norm_forward(args, {x_.data(), n}, {out, n}, out + 4 * kRows * n);
    kernels.add_norm_forward(args, {x_.data(), n}, {y_.data(), n}, {out + kRows * n, n},
                             out + 4 * kRows * n + kRows);
  });
  for (const bool add : {false, true}) {
    ExpectEqual([&](const Table& kernels, size_t n, float* out) {
      kernels.norm_backward({kRows, n, z_.data(), 1e-5f}, {x_.data(), n}, y_.data(),
                            {z_.data() + n, n}, {out, n}, add, out + 4 * kRows * n);
    });
  }
}

TEST_P(LevelsTest, GatesAndTurns) {
  ExpectEqual([&](const Table& kernels, size_t n, float* out) {
    const size_t size = kRows * n;
    kernels.gate_forward(kRows, n, {x_.data(), n}, {y_.data(), n}, {out, n});
    kernels.gate_backward(kRows, n, {x_.data(), n}, {y_.data(), n},
                          {.dy = {z_.data(), n},
                           .y = {out + size, n},
                           .dx = {out + 2 * size, n},
                           .dgate = {out + 3 * size, n}});
    kernels.rotate(kRows, n, x_.data(), y_.data(), true, {out + 4 * size, n});
  });
  ExpectEqual([&](const Table& kernels, size_t n, float* out) {
    const size_t size = kRows * n;
    kernels.swi_glu_forward(kRows, n, x_.data(), out);
    kernels.swi_glu_backward(kRows, n, x_.data(),
                             {.dact = y_.data(),
                              .weight = z_.data(),
                              .act = out + size,
                              .dgate_up = out + 2 * size,
                              .dots = out + 4 * size});
  });
}

TEST_P(LevelsTest, PlainLoops) {
  ExpectEqual([&](const Table& kernels, size_t n, float* out) {
    const size_t size = kRows * n;
    kernels.sigmoid_in_place(n, out);
    kernels.add_scaled(n, 0.3f, x_.data(), out + n);
    const float* rows[] = {x_.data(), y_.data(), z_.data()};
    kernels.add_scaled_rows(n, 3, z_.data(), rows, out + 2 * n);
    kernels.scale(n, 1.7f, x_.data(), out + size);
    out[2 * size] = kernels.dot(n, x_.data(), y_.data());
    out[2 * size + 1] =
        kernels.momentum_step(n, 0.9f, 0.3f, x_.data(), out + 4 * size, out + 3 * size);
  });
  const size_t n = GetParam(), k = std::min<size_t>(4, n);
  std::vector<uint32_t> wanted(k), got(k);
  std::vector<float> sums(k), wide_sums(k);
  RowKernelsAvx2().largest_sums(n, k, x_.data(), y_.data(), wanted.data(), sums.data());
  RowKernelsAvx512().largest_sums(n, k, x_.data(), y_.data(), got.data(), wide_sums.data());
  EXPECT_EQ(got, wanted);
  EXPECT_EQ(wide_sums, sums);
}

TEST_P(LevelsTest, SoftmaxAndLoss) {
  for (const bool pinned : {false, true}) {
    ExpectEqual([&](const Table& kernels, size_t n, float* out) {
      const SoftmaxBand band = {.rows = kRows,
                                .cols = n + kRows - 1,
                                .stride = n + kRows,
                                .first = -1,
                                .last = static_cast<ptrdiff_t>(n),
                                .pinned = pinned};
      const std::vector<float> scores = Numbers(kRows * band.stride, 5, 20);
      float* again = out + kRows * band.stride;
      std::copy(scores.begin(), scores.end(), out);
      std::copy(scores.begin(), scores.end(), again);
      kernels.softmax_forward(band, 0.2f, out, again + kRows * band.stride,
                              again + kRows * band.stride + kRows);
      kernels.softmax_again(band, 0.2f, again + kRows * band.stride, again);
      kernels.softmax_backward(band, 0.2f, out, x_.data(), again);
    });
  }
  ExpectEqual([&](const Table& kernels, size_t n, float* out) {
    const TokenLoss<float> loss = kernels.loss_row(n, n / 2, 0.1f, 1e-4f, out);
    out[n] = loss.cross_entropy;
    out[n + 1] = loss.log_sum;
    out[n + 2] = loss.hit ? 1.0f : 0.0f;
  });
}

// Whole registers of sixteen, one of eight behind them, single numbers behind that.
INSTANTIATE_TEST_SUITE_P(Widths, LevelsTest, testing::Values(2, 8, 14, 16, 24, 32, 58, 128));

}  // namespace
}  // namespace tessera::trainer
