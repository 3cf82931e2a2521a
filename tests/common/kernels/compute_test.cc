#include "common/kernels/compute.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/kernels/compute_level.h"

namespace tessera::kernels {
namespace {

using ::testing::HasSubstr;

TEST(ChooseIsaTest, AutoGivesTheBest) {
  EXPECT_EQ(*ChooseIsa("auto", {.avx2 = true}), Isa::kAvx2);
  EXPECT_EQ(*ChooseIsa("auto", {.avx2 = true, .avx512 = true}), Isa::kAvx512);
  EXPECT_EQ(*ChooseIsa("auto", {.avx2 = true, .avx512 = true, .amx = true}), Isa::kAmx);
  EXPECT_EQ(ChooseIsa("auto", {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ChooseIsaTest, ALowerLevelCanBeForced) {
  const CpuFeatures all = {.avx2 = true, .avx512 = true, .amx = true};
  for (const Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    EXPECT_EQ(*ChooseIsa(NameOf(isa), all), isa);
  }
  EXPECT_EQ(*ChooseIsa("reference", {}), Isa::kReference);
}

TEST(ChooseIsaTest, ErrorsSayWhatThereIs) {
  const absl::Status lacking = ChooseIsa("amx", {.avx2 = true}).status();
  EXPECT_EQ(lacking.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(lacking.message()), HasSubstr("it has avx2"));
  EXPECT_THAT(std::string(ChooseIsa("amx", {}).status().message()), HasSubstr("it has none"));
  const absl::Status unknown = ChooseIsa("sse9", {.avx2 = true}).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("avx512"));
}

TEST(ComputeLevelTest, NamesWhatResultsDependOn) {
  EXPECT_EQ(LevelName(Isa::kAvx2, {}, Arithmetic::kFast), "avx2 fast");
  EXPECT_EQ(LevelName(Isa::kAvx512, {.avx512_vnni = true}, Arithmetic::kFloat32),
            "avx512+vnni float32");
  EXPECT_EQ(*ParseArithmetic("float32"), Arithmetic::kFloat32);
  EXPECT_EQ(*ParseArithmetic("fast"), Arithmetic::kFast);
  const absl::Status unknown = ParseArithmetic("double").status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("float32"));
}

TEST(ScratchTest, MemoryStaysUntilMoreIsAsked) {
  Scratch scratch;
  std::byte* small = scratch.Shared(1000);
  EXPECT_EQ(scratch.Shared(900), small);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(scratch.Shared(1 << 22)) % 64, 0u);
  scratch.PrepareWorkers(2);
  std::byte* first = scratch.OfWorker(0, 100);
  EXPECT_NE(scratch.OfWorker(1, 100), first);
  scratch.PrepareWorkers(5);
  EXPECT_EQ(scratch.OfWorker(0, 100), first);
}

}  // namespace
}  // namespace tessera::kernels
