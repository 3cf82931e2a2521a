#include "common/device/host_memory.h"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace tessera {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

class HostMemoryTest : public ::testing::Test {
 protected:
  HostMemoryTest() {
    root_ = std::filesystem::path(::testing::TempDir()) /
            ("host_memory_" + std::to_string(getpid()) + "_" +
             std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
    Write("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable:    1048576 kB\n");
  }
  ~HostMemoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void WriteMiB(const std::string& path, size_t mib) { Write(path, std::to_string(mib * kMiB)); }
  MemoryBudget Read() {
    const absl::StatusOr<MemoryBudget> budget = ReadMemoryBudget(root_.string());
    EXPECT_TRUE(budget.ok()) << budget.status();
    return budget.value_or(MemoryBudget{});
  }
  std::string root() const { return root_.string(); }

 private:
  std::filesystem::path root_;
};

TEST_F(HostMemoryTest, WithoutControlGroupsTheMachineDecides) {
  const MemoryBudget budget = Read();
  EXPECT_EQ(budget.free_bytes, 1024 * kMiB);
  EXPECT_EQ(budget.cgroup_free_bytes, SIZE_MAX);
  EXPECT_EQ(budget.available_bytes, 1024 * kMiB);
}

TEST_F(HostMemoryTest, Version2CountsReclaimableCacheAsFree) {
  Write("proc/self/cgroup", "0::/a\n");
  WriteMiB("sys/fs/cgroup/a/memory.max", 500);
  WriteMiB("sys/fs/cgroup/a/memory.current", 400);
  EXPECT_EQ(Read().cgroup_free_bytes, 100 * kMiB);
  Write("sys/fs/cgroup/a/memory.stat",
        "inactive_file_other 5\nactive_file 52428800\ninactive_file "
        "104857600\nanon 7\n");  // 50 + 100 MiB
  EXPECT_EQ(Read().cgroup_free_bytes, 250 * kMiB);
  EXPECT_EQ(Read().available_bytes, 250 * kMiB);
}

TEST_F(HostMemoryTest, Version2TakesTheTightestParentAndMemoryHigh) {
  Write("proc/self/cgroup", "0::/a/b\n");
  Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  WriteMiB("sys/fs/cgroup/a/b/memory.current", 10);
  EXPECT_EQ(Read().cgroup_free_bytes, SIZE_MAX);
  WriteMiB("sys/fs/cgroup/a/memory.max", 300);
  WriteMiB("sys/fs/cgroup/a/memory.current", 100);
  EXPECT_EQ(Read().cgroup_free_bytes, 200 * kMiB);
  WriteMiB("sys/fs/cgroup/a/memory.high", 150);
  EXPECT_EQ(Read().cgroup_free_bytes, 50 * kMiB);
  WriteMiB("sys/fs/cgroup/a/memory.current", 400);  // over the limit: nothing, not a huge number
  EXPECT_EQ(Read().cgroup_free_bytes, 0u);
}

TEST_F(HostMemoryTest, Version1) {
  Write("proc/self/cgroup", "9:memory:/docker/x\n0::/\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  WriteMiB("sys/fs/cgroup/memory/memory.usage_in_bytes", 1);
  EXPECT_EQ(Read().cgroup_free_bytes, SIZE_MAX);
  WriteMiB("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", 200);
  WriteMiB("sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", 150);
  Write("sys/fs/cgroup/memory/docker/x/memory.stat",
        "inactive_file 1\ntotal_inactive_file 1048576\n"
        "total_active_file 1048576\n");
  EXPECT_EQ(Read().cgroup_free_bytes, 52 * kMiB);
}

TEST_F(HostMemoryTest, WithoutProcIsAnError) {
  EXPECT_EQ(ReadMemoryBudget(root() + "/nowhere").status().code(), absl::StatusCode::kInternal);
  Write("proc/meminfo", "MemTotal: 1 kB\n");
  EXPECT_EQ(ReadMemoryBudget(root()).status().code(), absl::StatusCode::kInternal);
}

TEST(HostMemory, ThisMachineHasSome) {
  const absl::StatusOr<MemoryBudget> budget = ReadMemoryBudget();
  ASSERT_TRUE(budget.ok()) << budget.status();
  EXPECT_GT(budget->available_bytes, 0u);
  EXPECT_LE(budget->available_bytes, budget->free_bytes);
}

TEST(HostMemory, ResidentSetGrowsWithTouchedPages) {
  const size_t before = ResidentBytes();
  ASSERT_GT(before, 0u);
  std::vector<char> touched(64 * kMiB, 1);
  ASSERT_EQ(touched[32 * kMiB], 1);
  EXPECT_GE(ResidentBytes(), before + 60 * kMiB);
  EXPECT_GE(PeakResidentBytes(), before + 60 * kMiB);
}

}  // namespace
}  // namespace tessera
