#include "common/concurrency/cpu_count.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace tessera {
namespace {

class CpuCountTest : public ::testing::Test {
 protected:
  CpuCountTest() {
    root_ = std::filesystem::path(::testing::TempDir()) /
            ("cpu_count_" + std::to_string(getpid()) + "_" +
             std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
  }
  ~CpuCountTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string root() const { return root_.string(); }

 private:
  std::filesystem::path root_;
};

TEST_F(CpuCountTest, NoControlGroupsMeansNoQuota) {
  EXPECT_EQ(CgroupCpuQuota(root()), std::nullopt);
  EXPECT_GE(UsableCpuCount(root()), 1u);
}

TEST_F(CpuCountTest, Version2TakesTheTightestParent) {
  Write("proc/self/cgroup", "0::/a.slice/b\n");
  Write("sys/fs/cgroup/a.slice/b/cpu.max", "max 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root()), std::nullopt);
  Write("sys/fs/cgroup/a.slice/cpu.max", "50000 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root()), 0.5);
  Write("sys/fs/cgroup/a.slice/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root()), 0.5);
  EXPECT_EQ(UsableCpuCount(root()), 1u);
}

TEST_F(CpuCountTest, AGroupOutOfSightFallsBackToTheTop) {
  Write("proc/self/cgroup", "0::/docker/0123\n");
  Write("sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root()), 1.0);
  Write("proc/self/cgroup", "0::/../other\n");
  EXPECT_EQ(CgroupCpuQuota(root()), 1.0);
}

TEST_F(CpuCountTest, Version1) {
  Write("proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/x\n0::/\n");
  Write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupCpuQuota(root()), std::nullopt);
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "25000\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupCpuQuota(root()), 0.25);
}

TEST_F(CpuCountTest, AQuotaIsRoundedUpAndNonsenseIgnored) {
  Write("proc/self/cgroup", "0::/\nbroken line\n");
  Write("sys/fs/cgroup/cpu.max", "1 100000\n");
  EXPECT_EQ(UsableCpuCount(root()), 1u);
  Write("sys/fs/cgroup/cpu.max", "garbage\n");
  EXPECT_EQ(CgroupCpuQuota(root()), std::nullopt);
  Write("sys/fs/cgroup/cpu.max", "1e9 1000\n");  // more than the affinity mask allows
  EXPECT_EQ(UsableCpuCount(root()), UsableCpuCount("/nowhere"));
}

}  // namespace
}  // namespace tessera
