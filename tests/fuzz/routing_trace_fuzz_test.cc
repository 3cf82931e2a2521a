// Broken routing traces: refused, or read into steps that are within what the header says, with no
// more memory than the file's size warrants.

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "services/router/balance/routing_source.h"
#include "services/router/balance/routing_trace.h"
#include "tests/support/memory_limit.h"
#include "tests/support/mutator.h"
#include "tests/support/temp_folder.h"

namespace tessera::router {
namespace {

std::string U32(uint32_t value) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

// Records of `rows` rows for each layer in turn, experts 0, 1, 2, ... again and again.
std::string Trace(uint32_t layers, uint32_t experts, uint32_t top_k, uint32_t rows,
                  uint32_t steps) {
  std::string bytes = "TSSTRCE1" + U32(layers) + U32(experts) + U32(top_k);
  uint32_t next = 0;
  for (uint32_t step = 0; step < steps; ++step) {
    bytes += U32(step % layers) + U32(rows);
    for (uint32_t i = 0; i < rows * top_k; ++i) bytes += U32(next++ % experts).substr(0, 2);
  }
  return bytes;
}

TEST(RoutingTraceFuzzTest, BrokenFiles) {
  constexpr uint64_t kSeed = 23;
  const testing::Mutator mutator(
      kSeed, {Trace(3, 256, 4, 5, 6), Trace(1, 1, 1, 1, 1), Trace(60, 65536, 2, 9, 3)},
      {"TSSTRCE1", U32(0), U32(1), U32(65536), U32(65537), U32(4096), U32(0xffffffff)});
  const testing::TempFolder folder;
  const std::string path = folder.File("trace");
  const testing::MemoryLimit limit(size_t{256} << 20);
  uint64_t good = 0;
  const uint64_t rounds = testing::FuzzRounds(3000);
  for (uint64_t n = 0; n < rounds; ++n) {
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", input " + std::to_string(n));
    const std::string bytes = mutator.At(n);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    const auto trace = RoutingTrace::Read(path);
    if (!trace.ok()) {
      ASSERT_EQ(trace.status().code(), absl::StatusCode::kDataLoss) << trace.status();
      continue;
    }
    good += !trace->steps.empty();
    TraceRouting replay(*trace);
    for (const RoutedStep& step : trace->steps) {
      ASSERT_LT(ToIndex(step.layer), trace->shape.layer_count);
      ASSERT_EQ(step.experts.size(), size_t{step.rows} * trace->top_k);
      ASSERT_LE(2 * step.experts.size(), bytes.size());
      for (const uint32_t expert : step.experts) ASSERT_LT(expert, trace->shape.expert_count);
      ASSERT_GT(replay.Next(step.layer, 1).rows, 0u);
    }
  }
  EXPECT_GT(good, rounds / 20);
}

}  // namespace
}  // namespace tessera::router
