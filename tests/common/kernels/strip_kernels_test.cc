// Strips by themselves: weights, rows and results end where a page ends that may not be touched, so
// that a kernel which reads or writes past them stops the test.

#include "common/kernels/strip_kernels.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/kernels/strip_prefetch_avx512.h"
#include "tests/common/kernels/weights_for_tests.h"

namespace tessera::kernels {
namespace {

// `size_bytes` bytes that end at a page without access.
class GuardedBytes {
 public:
  explicit GuardedBytes(size_t size_bytes)
      : mapped_((size_bytes + kPage - 1) / kPage * kPage + kPage) {
    void* base = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TESSERA_CHECK(base != MAP_FAILED);
    base_ = static_cast<std::byte*>(base);
    TESSERA_CHECK(mprotect(base_ + mapped_ - kPage, kPage, PROT_NONE) == 0);
    data_ = base_ + mapped_ - kPage - size_bytes;
  }
  ~GuardedBytes() { munmap(base_, mapped_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  std::byte* data() const { return data_; }
  float* floats() const { return reinterpret_cast<float*>(data_); }

 private:
  static constexpr size_t kPage = 4096;
  const size_t mapped_;
  std::byte* base_;
  std::byte* data_;
};

class StripKernelsTest : public ::testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    if (!GetParam().Present()) {
      GTEST_SKIP() << "this CPU lacks " << GetParam().Name() << ": tested by emulation only";
    }
  }
};

// One strip of `outputs` outputs in guarded memory, and the exact weights.
struct Strip {
  Strip(WeightType type, WeightLayout layout, size_t outputs, size_t inputs)
      : stored(RandomWeights(type == WeightType::kF32 ? DType::kF32 : DType::kBF16, outputs, inputs,
                             outputs + inputs)),
        bytes(layout == WeightLayout::kRows ? stored.view.size_bytes() : PanelBytes(type, inputs)) {
    if (layout == WeightLayout::kRows) {
      std::memcpy(bytes.data(), stored.view.data, stored.view.size_bytes());
      stored.view.data = bytes.data();
      matrix = BorrowOrDie(stored.view);
    } else {
      matrix = *WeightMatrix::PackInto(stored.view, type, {bytes.data(), PanelBytes(type, inputs)});
    }
  }
  StoredWeights stored;
  GuardedBytes bytes;
  WeightMatrix matrix;
};

// Converts `rows` rows and multiplies them pass by pass; each result is compared with the exact
// one.
void CheckStrip(const Level& level, const ProductKind& kind, const Strip& strip) {
  const StripKernels& kernels = StripKernelsOf(level.isa, level.Features());
  const size_t inputs = strip.matrix.inputs();
  const size_t outputs = strip.matrix.outputs();
  const RowForm form = kernels.form(kind);
  const GuardedBytes converted(kernels.form_bytes(form, kind.rows, inputs));
  const Matrix x = RandomRows(kind.rows, inputs, kind.rows);
  const GuardedBytes row(inputs * sizeof(float));
  for (size_t r = 0; r < kind.rows; ++r) {
    std::memcpy(row.data(), x.row(r).data(), inputs * sizeof(float));
    kernels.convert_row(form, row.floats(), inputs, r, kind.rows, converted.data());
  }
  std::vector<float> w(inputs);
  for (size_t first = 0; first < kind.rows; first += kPassRows) {
    const size_t count = std::min(kPassRows, kind.rows - first);
    const GuardedBytes out(count * kPanelOutputs * sizeof(float));
    std::memset(out.data(), 0xff, count * kPanelOutputs * sizeof(float));  // NaN
    kernels.multiply({.kind = kind,
                      .form = form,
                      .weights = strip.matrix.data(),
                      .outputs = outputs,
                      .inputs = inputs,
                      .rows = converted.data(),
                      .row_begin = first,
                      .row_count = count,
                      .out = out.floats()});
    for (size_t n = 0; n < outputs; ++n) {
      strip.matrix.ReadRow(n, w);
      for (size_t r = 0; r < count; ++r) {
        double exact = 0;
        for (size_t k = 0; k < inputs; ++k)
          exact += static_cast<double>(w[k]) * x.row(first + r)[k];
        const float result = out.floats()[r * kPanelOutputs + n];
        // Written so that NaN fails.
        ASSERT_TRUE(std::fabs(result - exact) <= ProductTolerance(level, kind.arithmetic,
                                                                  strip.matrix, w, x.row(first + r),
                                                                  kind.batch_invariant))
            << NameOf(kind.type) << " row " << first + r << " of " << kind.rows << " output " << n
            << " of " << outputs << " inputs " << inputs << ": " << result << " for " << exact;
      }
    }
  }
  if (kernels.release != nullptr) kernels.release();
}

TEST_P(StripKernelsTest, StayInsideTheirMemoryAndWithinTheirBound) {
  for (const WeightLayout layout : {WeightLayout::kPanels, WeightLayout::kRows}) {
    for (const WeightType type :
         {WeightType::kF32, WeightType::kBF16, WeightType::kQ8, WeightType::kQ4}) {
      if (layout == WeightLayout::kRows && IsQuantised(type)) continue;
      for (const size_t outputs : {size_t{1}, size_t{17}, size_t{32}}) {
        for (const size_t inputs : {size_t{1}, size_t{33}, size_t{64}, size_t{190}}) {
          const Strip strip(type, layout, outputs, inputs);
          for (const size_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 47, 49}) {
            for (const auto& [arithmetic, invariant] :
                 {std::pair{Arithmetic::kFloat32, true}, std::pair{Arithmetic::kFast, true},
                  std::pair{Arithmetic::kFast, false}}) {
              CheckStrip(GetParam(), {type, layout, arithmetic, invariant, rows}, strip);
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

// How often each line from `weights` on is asked for by tiles of at most `tile_rows` rows.
std::vector<int> LinesAsked(const avx512::Stage& stage, size_t tile_rows, size_t rows) {
  std::vector<int> asked(3 * stage.blocks * stage.block_bytes / kLineBytes);
  for (size_t row = 0; row < rows; row += tile_rows) {
    avx512::WeightPrefetch prefetch = avx512::PrefetchOf(
        stage, {.first = row, .count = std::min(tile_rows, rows - row), .all = rows});
    for (size_t block = 0; block < stage.blocks; ++block, prefetch.NextBlock()) {
      const auto first = static_cast<size_t>(prefetch.next - stage.weights);
      for (size_t i = 0; i < prefetch.block_bytes; i += kLineBytes) {
        ++asked.at((first + i) / kLineBytes);
      }
    }
  }
  return asked;
}

TEST(WeightPrefetchTest, TheTilesOfAPassAskForEachLineOfTheNextStageOnce) {
  for (const size_t block_bytes : {size_t{576}, size_t{1088}, size_t{2048}}) {
    for (const size_t blocks : {1, 7, 15}) {
      const std::vector<std::byte> weights(3 * blocks * block_bytes);
      avx512::Stage stage = avx512::StageOf(
          {.weights = weights.data(), .blocks = blocks, .block_bytes = block_bytes}, 0, 1, true);
      const size_t lines = blocks * block_bytes / kLineBytes;
      std::vector<int> next_stage(3 * lines);
      std::fill_n(next_stage.begin() + static_cast<ptrdiff_t>(lines), lines, 1);
      for (const size_t rows : {9, 16, 31, 48}) {
        EXPECT_EQ(LinesAsked(stage, 8, rows), next_stage) << rows;
        EXPECT_EQ(LinesAsked(stage, 5, rows), next_stage) << rows;
      }
      const avx512::TileRows all = {.first = 0, .count = 5, .all = 5};
      EXPECT_EQ(avx512::PrefetchOf(stage, all).next, weights.data() + avx512::kPrefetchAheadBytes);
      stage.fresh = false;
      EXPECT_EQ(LinesAsked(stage, 8, 48), std::vector<int>(3 * lines));
    }
  }
}

TEST(WeightPrefetchTest, StagesCoverAPanelAndStayInL1) {
  for (const size_t block_bytes : {size_t{576}, size_t{1088}, size_t{2048}}) {
    for (size_t blocks = 1; blocks < 400; ++blocks) {
      const avx512::Panel panel = {
          .weights = nullptr, .blocks = blocks, .block_bytes = block_bytes};
      const size_t stages = avx512::StageCount(panel);
      size_t covered = 0;
      for (size_t i = 0; i < stages; ++i) {
        const avx512::Stage stage = avx512::StageOf(panel, i, stages, true);
        ASSERT_EQ(stage.first, covered);
        ASSERT_GE(stage.blocks, blocks / stages);
        ASSERT_LE(stage.blocks, blocks / stages + 1);
        ASSERT_LE(stage.blocks * block_bytes, avx512::kStageBytes) << blocks;
        covered += stage.blocks;
      }
      ASSERT_EQ(covered, blocks);
    }
  }
}

template <size_t kSteps, size_t kBytes>
std::vector<int> LinesOfSteps() {
  std::vector<int> asked(kBytes / kLineBytes);
  for (size_t step = 0; step < kSteps; ++step) {
    avx512::WeightPrefetch::LinesOfStep<kSteps, kBytes>(
        step, [&](size_t at) { ++asked.at(at / kLineBytes); });
  }
  return asked;
}

TEST(WeightPrefetchTest, TheStepsOfABlockAskForEachLineOnce) {
  EXPECT_EQ((LinesOfSteps<32, 4096>()), std::vector<int>(64, 1));
  EXPECT_EQ((LinesOfSteps<64, 4096>()), std::vector<int>(64, 1));
  EXPECT_EQ((LinesOfSteps<16, 2048>()), std::vector<int>(32, 1));
  EXPECT_EQ((LinesOfSteps<32, 2048>()), std::vector<int>(32, 1));
  EXPECT_EQ((LinesOfSteps<8, 1088>()), std::vector<int>(17, 1));
  EXPECT_EQ((LinesOfSteps<16, 1088>()), std::vector<int>(17, 1));
  EXPECT_EQ((LinesOfSteps<8, 576>()), std::vector<int>(9, 1));
  EXPECT_EQ((LinesOfSteps<16, 576>()), std::vector<int>(9, 1));
}

INSTANTIATE_TEST_SUITE_P(Levels, StripKernelsTest, ::testing::ValuesIn(kLevels),
                         [](const auto& info) { return info.param.Name(); });

}  // namespace
}  // namespace tessera::kernels
