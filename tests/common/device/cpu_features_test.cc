#include "common/device/cpu_features.h"

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "gtest/gtest.h"

namespace tessera {
namespace {

// The kernel's own reading of cpuid, which also drops what it does not save.
std::set<std::string> KernelFlags() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    std::set<std::string> flags;
    for (std::string word; words >> word;) flags.insert(word);
    return flags;
  }
  return {};
}

TEST(CpuFeatures, AgreeWithTheKernel) {
  const std::set<std::string> flags = KernelFlags();
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo has no flags";
  const auto all = [&](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (!flags.contains(name)) return false;
    }
    return true;
  };
  const CpuFeatures features = DetectCpuFeatures();
  EXPECT_EQ(features.avx2, all({"avx2", "fma", "f16c"}));
  EXPECT_EQ(features.avx512, features.avx2 && all({"avx512f", "avx512bw", "avx512vl", "avx512dq"}));
  EXPECT_EQ(features.avx512_bf16, features.avx512 && all({"avx512_bf16"}));
  EXPECT_EQ(features.avx512_vnni, features.avx512 && all({"avx512_vnni"}));
  EXPECT_EQ(features.amx, features.avx512_bf16 && features.avx512_vnni &&
                              all({"avx512vbmi", "amx_tile", "amx_int8", "amx_bf16"}));
}

TEST(CpuFeatures, AskingTwiceGivesTheSame) {
  EXPECT_EQ(ToString(DetectCpuFeatures()), ToString(DetectCpuFeatures()));
}

TEST(CpuFeatures, NamesWhatIsThere) {
  EXPECT_EQ(ToString({}), "none");
  EXPECT_EQ(ToString({.avx2 = true}), "avx2");
  EXPECT_EQ(ToString({.avx2 = true, .avx512 = true, .avx512_bf16 = true}),
            "avx2 avx512 avx512_bf16");
  EXPECT_EQ(ToString({true, true, true, true, true}), "avx2 avx512 avx512_bf16 avx512_vnni amx");
}

}  // namespace
}  // namespace tessera
