#include "common/kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "common/tensor/dtype.h"
#include "tests/common/kernels/paged_cache.h"

namespace tessera::kernels {
namespace {

using Place = PagedCache::Place;

std::vector<Place> AllPlaces(const PagedCache& cache) {
  std::vector<Place> places;
  for (size_t s = 0; s < cache.sequences(); ++s) {
    for (size_t t = 0; t < cache.length(s); ++t) places.push_back({s, t});
  }
  return places;
}

// The plain formula straight from the matrices, no cache between; numbers rounded as the cache
// rounds them.
std::vector<double> Formula(const PagedCache& cache, const CacheShape& shape, Place place,
                            size_t window, size_t head) {
  const size_t dim = shape.head_dim;
  const size_t column = head / (shape.query_heads / shape.kv_heads) * dim;
  const auto stored = [&](float v) { return shape.type == KvType::kF32 ? v : ToFloat(ToBF16(v)); };
  std::vector<double> out(dim);
  double sum = 0;
  for (size_t t = 0; t <= place.position; ++t) {
    if (window != 0 && t + window <= place.position) continue;
    double dot = 0;
    for (size_t i = 0; i < dim; ++i) {
      dot +=
          static_cast<double>(cache.queries(place.sequence).row(place.position)[head * dim + i]) *
          stored(cache.keys(place.sequence).row(t)[column + i]);
    }
    const double weight = std::exp(dot / std::sqrt(static_cast<double>(dim)));
    sum += weight;
    for (size_t i = 0; i < dim; ++i) {
      out[i] += weight * stored(cache.values(place.sequence).row(t)[column + i]);
    }
  }
  for (double& v : out) v /= sum;
  return out;
}

// Elements of q and k are uniform in [-3, 3], so the sum of |q_i k_i| is about 9/4 dim: a score is
// off by at most dim + 3 roundings of 9/4 sqrt(dim), a weight relatively by as much, in numerator
// and denominator. The sums of a span and the folds add fewer than 300 roundings; values are at
// most 1.
double ErrorBound(size_t head_dim) {
  const auto dim = static_cast<double>(head_dim);
  return 0x1p-24 * (2 * (dim + 3) * 9 * std::sqrt(dim) / 4 + 300);
}

void ExpectFormula(const PagedCache& cache, const CacheShape& shape, const Compute& compute,
                   size_t window) {
  const std::vector<Place> places = AllPlaces(cache);
  const Matrix out = cache.Attend(compute, places, window);
  for (size_t i = 0; i < places.size(); ++i) {
    for (size_t head = 0; head < shape.query_heads; ++head) {
      const std::vector<double> want = Formula(cache, shape, places[i], window, head);
      for (size_t d = 0; d < shape.head_dim; ++d) {
        ASSERT_NEAR(out.row(i)[head * shape.head_dim + d], want[d], ErrorBound(shape.head_dim))
            << "sequence " << places[i].sequence << " position " << places[i].position << " window "
            << window << " head " << head << " dimension " << d << " of " << shape.head_dim;
      }
    }
  }
}

TEST(AttentionTest, ReferenceIsTheFormula) {
  Machine machine(Isa::kReference);
  for (const KvType type : {KvType::kF32, KvType::kBF16}) {
    const CacheShape shape = {.kv_heads = 2, .head_dim = 24, .query_heads = 6, .type = type};
    PagedCache cache(shape, {1, 17, 40}, 1);
    cache.StoreAll(machine.compute);
    for (const size_t window : {0, 1, 5, 16, 17}) {
      ExpectFormula(cache, shape, machine.compute, window);
    }
  }
}

TEST(AttentionTest, FastIsTheFormulaForEveryShapeOfHeads) {
  TESSERA_NEEDS_AVX2();
  Machine machine(Isa::kAvx2, 2);
  for (const KvType type : {KvType::kF32, KvType::kBF16}) {
    for (const size_t head_dim : {2, 16, 24, 30, 32, 128}) {
      for (const size_t group : {1, 2, 3, 4, 5, 6, 7, 8}) {
        const CacheShape shape = {.kv_heads = 1 + group % 2,
                                  .head_dim = head_dim,
                                  .query_heads = group * (1 + group % 2),
                                  .type = type};
        PagedCache cache(shape, {1, 3, 17, 65}, head_dim + group);
        cache.StoreAll(machine.compute);
        ExpectFormula(cache, shape, machine.compute, 0);
        ExpectFormula(cache, shape, machine.compute, 17);
      }
    }
  }
}

TEST(AttentionTest, FastIsTheFormulaForEveryWindowOverManySpans) {
  TESSERA_NEEDS_AVX2();
  Machine machine(Isa::kAvx2, 2);
  for (const KvType type : {KvType::kF32, KvType::kBF16}) {
    const CacheShape shape = {.kv_heads = 1, .head_dim = 16, .query_heads = 3, .type = type};
    PagedCache cache(shape, {63, 600}, 9);
    cache.StoreAll(machine.compute);
    for (const size_t window : {0, 1, 5, 16, 17, 255, 256, 300}) {
      ExpectFormula(cache, shape, machine.compute, window);
    }
  }
}

class AttentionBitsTest : public ::testing::Test {
 protected:
  AttentionBitsTest()
      : shape_{.kv_heads = 2, .head_dim = 32, .query_heads = 8, .type = KvType::kBF16},
        cache_(shape_, {1, 33, 900, 70}, 5),
        one_(LocalIsa(), 1),
        two_(LocalIsa(), 2) {
    cache_.StoreAll(one_.compute);
  }
  CacheShape shape_;
  PagedCache cache_;
  Machine one_;
  Machine two_;
};

TEST_F(AttentionBitsTest, DoNotDependOnCompany) {
  for (const size_t window : {0, 5, 100}) {
    const std::vector<Place> places = AllPlaces(cache_);
    const Matrix together = cache_.Attend(one_.compute, places, window);
    for (size_t i = 0; i < places.size(); i += 7) {
      const Matrix alone = cache_.Attend(one_.compute, {places[i]}, window);
      ASSERT_TRUE(SameBits(alone.row(0), together.row(i))) << "row " << i << " window " << window;
    }
  }
}

TEST_F(AttentionBitsTest, DoNotDependOnTheChunks) {
  const std::vector<Place> places = AllPlaces(cache_);
  for (const size_t window : {0, 100}) {
    const Matrix whole = cache_.Attend(one_.compute, places, window);
    for (const size_t chunk : {3, 16, 61, 256}) {
      for (size_t begin = 0; begin < places.size(); begin += chunk) {
        const size_t end = std::min(places.size(), begin + chunk);
        const Matrix part =
            cache_.Attend(one_.compute, {&places[begin], &places[end - 1] + 1}, window);
        for (size_t i = begin; i < end; ++i) {
          ASSERT_TRUE(SameBits(part.row(i - begin), whole.row(i)))
              << "row " << i << " chunk " << chunk << " window " << window;
        }
      }
    }
  }
}

TEST_F(AttentionBitsTest, DoNotDependOnThreads) {
  const std::vector<Place> places = AllPlaces(cache_);
  EXPECT_TRUE(SameBits(cache_.Attend(one_.compute, places, 0).values(),
                       cache_.Attend(two_.compute, places, 0).values()));
  // One row with a long context is shared out by spans; so is a tile of rows.
  for (const size_t rows : {1, 5, 12}) {
    std::vector<Place> few;
    for (size_t i = 0; i < rows; ++i) few.push_back({2, 899 - rows + i});
    for (const size_t threads : {2, 3, 16}) {
      Machine many(LocalIsa(), threads);
      EXPECT_TRUE(SameBits(cache_.Attend(one_.compute, few, 0).values(),
                           cache_.Attend(many.compute, few, 0).values()))
          << rows << " rows, " << threads << " threads";
    }
  }
}

TEST_F(AttentionBitsTest, DoNotDependOnTokensNotYetSeen) {
  // The whole prompt was stored; now only as much as the row may see, the rest being NaN.
  PagedCache fresh(shape_, {1, 33, 900, 70}, 5);
  for (const size_t position : {0, 15, 16, 31, 255, 256, 700}) {
    fresh.Store(one_.compute, 2, 0, position + 1);
    EXPECT_TRUE(SameBits(fresh.Attend(one_.compute, {{2, position}}, 0).values(),
                         cache_.Attend(one_.compute, {{2, position}}, 0).values()));
  }
}

TEST_F(AttentionBitsTest, BlocksBehindTheWindowAreNotRead) {
  const std::vector<Place> rows = {{2, 610}, {2, 611}, {2, 612}};
  const Matrix before = cache_.Attend(two_.compute, rows, 50);
  for (size_t block = 0; block < (610 - 49) / kKvBlockTokens; ++block) {
    cache_.table(2)[block] = 0xffffffffu;
  }
  EXPECT_TRUE(SameBits(cache_.Attend(two_.compute, rows, 50).values(), before.values()));
}

TEST(AttentionNaNTest, StaysInItsSequence) {
  Machine machine(LocalIsa());
  const CacheShape shape = {.kv_heads = 1, .head_dim = 16, .query_heads = 2};
  PagedCache cache(shape, {40, 40}, 3);
  cache.StoreAll(machine.compute);
  PagedCache sick(shape, {40, 40}, 3);
  sick.Store(machine.compute, 0, 0, 40);  // sequence 1 keeps its NaN
  const std::vector<Place> rows = {{0, 39}, {1, 39}};
  const Matrix want = cache.Attend(machine.compute, rows, 0);
  const Matrix got = sick.Attend(machine.compute, rows, 0);
  EXPECT_TRUE(SameBits(got.row(0), want.row(0)));
  for (const float v : got.row(1)) EXPECT_TRUE(std::isnan(v));
}

TEST(StoreKvTest, EveryLevelWritesTheSameBytes) {
  TESSERA_NEEDS_AVX2();
  Machine plain(Isa::kReference);
  Machine fast(Isa::kAvx2, 2);
  for (const KvType type : {KvType::kF32, KvType::kBF16}) {
    for (const size_t head_dim : {2, 16, 24, 30, 128}) {
      const CacheShape shape = {
          .kv_heads = 3, .head_dim = head_dim, .query_heads = 3, .type = type};
      PagedCache a(shape, {200, 5}, 8);
      PagedCache b(shape, {200, 5}, 8);
      a.StoreAll(plain.compute);
      b.StoreAll(fast.compute);
      EXPECT_EQ(a.bytes(), b.bytes());
    }
  }
}

TEST(SigmoidGateTest, IsTheFormula) {
  for (const Isa isa : {Isa::kReference, LocalIsa()}) {
    Machine machine(isa, 2);
    for (const size_t cols : {1, 7, 8, 65, 1024}) {
      const Matrix gate = RandomMatrix(70, cols, cols, 100.0);
      const Matrix before = RandomMatrix(70, cols, cols + 1);
      Matrix x = before;
      SigmoidGate(machine.compute, gate.view(), x.view());
      for (size_t i = 0; i < x.values().size(); ++i) {
        const double want =
            before.values()[i] / (1 + std::exp(-static_cast<double>(gate.values()[i])));
        // 5 ulp; below 2^-126 the numbers themselves are coarse.
        ASSERT_NEAR(x.values()[i], want, 3e-7 * std::fabs(want) + 1e-38);
      }
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
