#include "common/kernels/kernel_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/kernels/strip_check.h"
#include "tests/common/kernels/weights_for_tests.h"

namespace tessera::kernels {
namespace {

using ::testing::HasSubstr;

constexpr CpuFeatures kEverything = {
    .avx2 = true, .avx512 = true, .avx512_bf16 = true, .avx512_vnni = true, .amx = true};

// Chooses on a CPU with everything whose kernels of `broken` fail.
std::string Chosen(std::string_view name, const std::vector<std::string>& broken,
                   const CpuFeatures& features = kEverything) {
  const auto choice =
      ChooseKernels(name, features, [&](Isa isa, const CpuFeatures& used) -> absl::Status {
        if (std::count(broken.begin(), broken.end(), NameOf(isa, used)) == 0) {
          return absl::OkStatus();
        }
        return absl::InternalError("wrong");
      });
  return choice.ok() ? Describe(*choice) : choice.status().ToString();
}

TEST(KernelChoiceTest, TheBestLevelThatPassesIsTaken) {
  EXPECT_EQ(Chosen("auto", {}), "amx");
  EXPECT_EQ(Chosen("auto", {"amx"}), "avx512+bf16+vnni refused=amx");
  EXPECT_EQ(Chosen("auto", {"amx", "avx512+bf16+vnni"}),
            "avx512+vnni refused=amx,avx512+bf16+vnni");
  EXPECT_EQ(Chosen("avx512", {"avx512+bf16+vnni", "avx512+vnni"}),
            "avx512+bf16 refused=avx512+bf16+vnni,avx512+vnni");
  EXPECT_EQ(Chosen("avx512", {"avx512"}, {.avx2 = true, .avx512 = true}), "avx2 refused=avx512");
  EXPECT_EQ(Chosen("avx2", {}), "avx2");
  EXPECT_EQ(Chosen("avx2", {"avx2"}), "reference refused=avx2");
  EXPECT_EQ(Chosen("reference", {}), "reference");
}

TEST(KernelChoiceTest, WhatTheCpuLacksIsNotTried) {
  const CpuFeatures vnni = {.avx2 = true, .avx512 = true, .avx512_vnni = true};
  EXPECT_EQ(Chosen("auto", {}, vnni), "avx512+vnni");
  EXPECT_EQ(Chosen("auto", {"avx512+vnni"}, vnni), "avx512 refused=avx512+vnni");
  EXPECT_THAT(Chosen("amx", {}, vnni), HasSubstr("lacks"));
}

TEST(KernelChoiceTest, RefusedFeaturesAreNotUsed) {
  const auto choice =
      ChooseKernels("auto", kEverything, [](Isa isa, const CpuFeatures&) -> absl::Status {
        if (isa == Isa::kAvx2) return absl::OkStatus();
        return absl::InternalError("wrong");
      });
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(ToString(choice->features), "avx2");
}

TEST(KernelChoiceTest, ThisCpuPasses) {
  if (!DetectCpuFeatures().avx2) GTEST_SKIP() << "this CPU has no AVX2: NOT TESTED";
  const auto choice = ChooseKernels("auto");
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->refused, "");
}

TEST(StripCheckTest, EveryLevelPasses) {
  for (const Level& level : kLevels) {
    if (!level.Present()) continue;
    const absl::Status status = CheckStrips(StripKernelsOf(level.isa, level.Features()));
    EXPECT_TRUE(status.ok()) << level.Name() << ": " << status;
  }
}

// One result of many is off by one.
void MultiplyWrongly(const StripTask& task) {
  Avx2StripKernels().multiply(task);
  if (task.row_count > 20 && task.kind.type == WeightType::kQ4) task.out[20 * 32 + 31] += 1;
}
// Two inputs of a row are exchanged.
void ConvertWrongly(RowForm form, const float* x, size_t inputs, size_t row, size_t rows,
                    std::byte* converted) {
  std::vector<float> other(x, x + inputs);
  if (row == 4) std::swap(other[inputs - 1], other[inputs - 2]);
  Avx2StripKernels().convert_row(form, other.data(), inputs, row, rows, converted);
}

TEST(StripCheckTest, FindsAWrongKernel) {
  if (!DetectCpuFeatures().avx2) GTEST_SKIP() << "this CPU has no AVX2: NOT TESTED";
  StripKernels wrong = Avx2StripKernels();
  wrong.multiply = &MultiplyWrongly;
  const absl::Status product = CheckStrips(wrong);
  EXPECT_EQ(product.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(product.message()), HasSubstr("q4 panels, float32"));
  EXPECT_THAT(std::string(product.message()), HasSubstr("row 20 of 21, output 31"));
  wrong = Avx2StripKernels();
  wrong.convert_row = &ConvertWrongly;
  EXPECT_THAT(std::string(CheckStrips(wrong).message()), HasSubstr("row 4 of 5"));
}

}  // namespace
}  // namespace tessera::kernels
