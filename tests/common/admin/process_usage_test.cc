#include "common/admin/process_usage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/admin/admin_routes.h"
#include "common/base/clock.h"

namespace tessera {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

TEST(ProcessUsageTest, ReadsThisProcess) {
  const ProcessUsage before = ReadProcessUsage();
  EXPECT_GE(before.thread_count, 1u);
  EXPECT_GT(before.resident_bytes, size_t{1} << 20);
  EXPECT_LT(before.resident_bytes, size_t{1} << 40);
  // Now, by the same clock: what it used may be rounded up by a tick.
  const double age =
      absl::ToDoubleSeconds(RealClock().Now() - absl::UnixEpoch()) - before.start_seconds;
  EXPECT_GT(age, -2);
  EXPECT_LT(age, 3600);
  EXPECT_EQ(ReadProcessUsage().start_seconds, before.start_seconds);
  // Computes until the kernel's count of it moves.
  ProcessUsage now = before;
  while (now.cpu_seconds <= before.cpu_seconds) now = ReadProcessUsage();
  EXPECT_LT(now.cpu_seconds - before.cpu_seconds, 10);
}

TEST(ProcessUsageTest, MetricsAreFreshInEveryText) {
  Registry registry;
  AddProcessMetrics(registry, "router");
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr("tessera_build_info{service=\"router\",version=\""));
  EXPECT_THAT(text, ContainsRegex("process_threads [1-9]"));
  EXPECT_THAT(text, ContainsRegex("process_resident_memory_bytes [1-9]"));
  EXPECT_THAT(text, ContainsRegex("process_start_time_seconds [1-9]"));
}

}  // namespace
}  // namespace tessera
