#include "server/startup/host_limits.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/testing/temporary_directory.h"

namespace skipstream {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMebibyte = int64_t{1} << 20;
constexpr int64_t kGibibyte = int64_t{1} << 30;
constexpr char kV2[] = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
constexpr char kMemory[] = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
constexpr char kCpu[] =
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

class HostLimitsTest : public ::testing::Test {
 protected:
  HostLimitsTest() { File("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n"); }

  void File(const std::string& path, const std::string& text) {
    const fs::path file = folder_.path().string() + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  HostLimits Find(int affinity = 8) { return FindHostLimits(affinity, folder_.path().string()); }

  const TemporaryDirectory folder_;
};

TEST_F(HostLimitsTest, WithoutGroupsItIsTheMachine) {
  const HostLimits limits = Find();
  EXPECT_EQ(limits.memory_bytes, 16 * kGibibyte);
  EXPECT_EQ(limits.memory_source, "MemTotal");
  EXPECT_EQ(limits.processors, 8);
  EXPECT_EQ(limits.processors_source, "affinity");
}

TEST_F(HostLimitsTest, WithoutProcItIsLittle) {
  const HostLimits limits = FindHostLimits(3, folder_.path().string() + "/nowhere");
  EXPECT_EQ(limits.memory_bytes, 2 * kGibibyte);
  EXPECT_EQ(limits.processors, 3);
  EXPECT_EQ(FindHostLimits(0, folder_.path().string()).processors, 1);
}

TEST_F(HostLimitsTest, VersionTwoInAContainerThatSeesItsGroupAsTheRoot) {
  File("/proc/self/mountinfo", kV2);
  File("/proc/self/cgroup", "0::/\n");
  File("/sys/fs/cgroup/memory.max", "2147483648\n");
  File("/sys/fs/cgroup/memory.high", "max\n");
  File("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  const HostLimits limits = Find();
  EXPECT_EQ(limits.memory_bytes, 2 * kGibibyte);
  EXPECT_EQ(limits.memory_source, "cgroup memory.max");
  EXPECT_EQ(limits.processors, 2) << "1.5, rounded up";
  EXPECT_EQ(limits.processors_source, "cgroup cpu.max");
}

TEST_F(HostLimitsTest, TheLeastOfTheGroupAndThoseAboveItHolds) {
  File("/proc/self/mountinfo", kV2);
  File("/proc/self/cgroup", "0::/pod/container\n");
  File("/sys/fs/cgroup/pod/container/memory.max", "max\n");
  File("/sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
  File("/sys/fs/cgroup/pod/memory.max", "1073741824\n");
  File("/sys/fs/cgroup/pod/memory.high", "536870912\n");
  File("/sys/fs/cgroup/pod/cpu.max", "50000 100000\n");
  const HostLimits limits = Find();
  EXPECT_EQ(limits.memory_bytes, 512 * kMebibyte);
  EXPECT_EQ(limits.memory_source, "cgroup memory.high");
  EXPECT_EQ(limits.processors, 1);
}

TEST_F(HostLimitsTest, VersionOneBesideVersionTwo) {
  File("/proc/self/mountinfo", std::string(kMemory) + kCpu +
                                   "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  File("/proc/self/cgroup", "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n");
  File("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  File("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4294967296\n");
  File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n");
  File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const HostLimits limits = Find();
  EXPECT_EQ(limits.memory_bytes, 4 * kGibibyte);
  EXPECT_EQ(limits.memory_source, "cgroup memory.limit_in_bytes");
  EXPECT_EQ(limits.processors, 3);
  EXPECT_EQ(limits.processors_source, "cgroup cpu.cfs_quota_us");
}

TEST_F(HostLimitsTest, VersionOneInAContainerWhereOnlyItsGroupIsMounted) {
  File("/proc/self/mountinfo",
       "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  File("/proc/self/cgroup", "4:memory:/docker/abc\n");
  File("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
  EXPECT_EQ(Find().memory_bytes, kGibibyte);
}

TEST_F(HostLimitsTest, NoLimitAndNonsenseAreNoLimits) {
  File("/proc/self/mountinfo", std::string(kMemory) + kCpu + "garbage\n1 2 - cgroup\n");
  File("/proc/self/cgroup", "4:memory:/\n1:cpu,cpuacct:/\nx\n");
  File("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const HostLimits limits = Find();
  EXPECT_EQ(limits.memory_bytes, 16 * kGibibyte);
  EXPECT_EQ(limits.processors, 8);
}

TEST(HostSharesTest, FitTogetherIntoEverythingFromHalfAGibibyteOn) {
  for (int64_t memory = kGibibyte / 2; memory <= 1024 * kGibibyte; memory *= 2) {
    HostLimits limits;
    limits.memory_bytes = memory;
    for (const int64_t weights : {memory / 100, memory / 10, memory / 3}) {
      const int64_t connections = int64_t{85 << 10} * MaxConnections(limits, /*tls=*/true);
      const int64_t sum = weights + RequestBytes(limits, weights) + ResultCacheBytes(limits) +
                          SlotBytes(limits) + TransportBytes(limits) + connections;
      EXPECT_LT(sum + TransportBytes(limits) / 3, memory * 99 / 100) << memory << " " << weights;
    }
  }
}

}  // namespace
}  // namespace skipstream
