#include "server/startup/host_limits.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace skipstream {
namespace {

constexpr int64_t kKibibyte = int64_t{1} << 10;
constexpr int64_t kMebibyte = int64_t{1} << 20;
constexpr int64_t kGibibyte = int64_t{1} << 30;
constexpr int64_t kMemoryWithoutProc = 2 * kGibibyte;

// Empty if the file cannot be read.
std::string Read(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return file ? text.str() : "";
}

std::optional<int64_t> FirstNumber(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" \n"));
  int64_t number = 0;
  if (!absl::SimpleAtoi(words.front(), &number)) return std::nullopt;  // "max" is none either
  return number;
}

// A hierarchy of control groups as this process sees it.
struct Hierarchy {
  std::string mount_point;
  std::string mount_root;                // the group that is mounted there
  std::vector<std::string> controllers;  // of version 1; none: version 2
};

std::vector<Hierarchy> HierarchiesOf(const std::string& mountinfo) {
  std::vector<Hierarchy> hierarchies;
  for (const absl::string_view line : absl::StrSplit(mountinfo, '\n', absl::SkipEmpty())) {
    // 35 31 0:32 ROOT MOUNT_POINT OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER_OPTIONS
    const std::pair<absl::string_view, absl::string_view> halves =
        absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    const std::vector<std::string> place = absl::StrSplit(halves.first, ' ');
    const std::vector<std::string> kind = absl::StrSplit(halves.second, ' ');
    if (place.size() < 5 || kind.size() < 3) continue;
    if (kind[0] == "cgroup2") {
      hierarchies.push_back({place[4], place[3], {}});
    } else if (kind[0] == "cgroup") {
      hierarchies.push_back({place[4], place[3], absl::StrSplit(kind[2], ',')});
    }
  }
  return hierarchies;
}

// The group of this process in the hierarchy of `controller`, or in that of version 2 if that is
// empty.
std::optional<std::string> GroupOf(const std::string& cgroup, const std::string& controller) {
  for (const absl::string_view line : absl::StrSplit(cgroup, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() < 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(fields[1], ',');
    const bool found = controller.empty() ? fields[1].empty()
                                          : std::find(controllers.begin(), controllers.end(),
                                                      controller) != controllers.end();
    if (found) return fields[2];
  }
  return std::nullopt;
}

// Directories of the group of this process and of those above it, as far as they can be seen.
std::vector<std::string> GroupDirectories(const std::string& root, const std::string& mountinfo,
                                          const std::string& cgroup,
                                          const std::string& controller) {
  std::vector<std::string> directories;
  for (const Hierarchy& hierarchy : HierarchiesOf(mountinfo)) {
    const bool fits = controller.empty()
                          ? hierarchy.controllers.empty()
                          : std::find(hierarchy.controllers.begin(), hierarchy.controllers.end(),
                                      controller) != hierarchy.controllers.end();
    const std::optional<std::string> group = GroupOf(cgroup, controller);
    if (!fits || !group) continue;
    // Inside a container the group's path may start at the machine's root and only a part be
    // mounted.
    absl::string_view below = *group;
    if (hierarchy.mount_root != "/" && !absl::ConsumePrefix(&below, hierarchy.mount_root)) {
      below = "";
    }
    std::string path(absl::StripSuffix(below, "/"));
    while (true) {
      directories.push_back(root + hierarchy.mount_point + path);
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return directories;
}

void Lower(std::optional<int64_t> limit, const char* source, HostLimits& limits) {
  if (!limit || *limit <= 0 || *limit >= limits.memory_bytes) return;
  limits.memory_bytes = *limit;
  limits.memory_source = source;
}

void LowerProcessors(std::optional<int64_t> quota, std::optional<int64_t> period,
                     const char* source, HostLimits& limits) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return;
  const auto processors =
      static_cast<int64_t>(std::ceil(static_cast<double>(*quota) / static_cast<double>(*period)));
  if (processors >= limits.processors) return;
  limits.processors = static_cast<int>(std::max<int64_t>(1, processors));
  limits.processors_source = source;
}

int64_t Share(const HostLimits& limits, int64_t parts, int64_t least, int64_t most) {
  return std::clamp(limits.memory_bytes / parts, least, most);
}

}  // namespace

HostLimits FindHostLimits(int affinity, const std::string& root) {
  HostLimits limits = {.memory_bytes = kMemoryWithoutProc,
                       .memory_source = "no /proc",
                       .processors = std::max(1, affinity),
                       .processors_source = "affinity"};
  for (const absl::string_view line : absl::StrSplit(Read(root + "/proc/meminfo"), '\n')) {
    absl::string_view value = line;
    if (!absl::ConsumePrefix(&value, "MemTotal:")) continue;
    const std::string text(absl::StripLeadingAsciiWhitespace(value));
    if (const std::optional<int64_t> kibibytes = FirstNumber(text); kibibytes && *kibibytes > 0) {
      limits.memory_bytes = *kibibytes * kKibibyte;
      limits.memory_source = "MemTotal";
    }
  }
  const std::string mountinfo = Read(root + "/proc/self/mountinfo");
  const std::string cgroup = Read(root + "/proc/self/cgroup");
  const auto groups = [&](const std::string& controller) {
    return GroupDirectories(root, mountinfo, cgroup, controller);
  };
  for (const std::string& group : groups("memory")) {
    Lower(FirstNumber(Read(group + "/memory.limit_in_bytes")), "cgroup memory.limit_in_bytes",
          limits);
  }
  for (const std::string& group : groups("cpu")) {
    LowerProcessors(FirstNumber(Read(group + "/cpu.cfs_quota_us")),
                    FirstNumber(Read(group + "/cpu.cfs_period_us")), "cgroup cpu.cfs_quota_us",
                    limits);
  }
  for (const std::string& group : groups("")) {
    Lower(FirstNumber(Read(group + "/memory.max")), "cgroup memory.max", limits);
    Lower(FirstNumber(Read(group + "/memory.high")), "cgroup memory.high", limits);
    const std::string cpu = Read(group + "/cpu.max");  // QUOTA PERIOD
    const size_t space = cpu.find(' ');
    if (space == std::string::npos) continue;
    LowerProcessors(FirstNumber(cpu), FirstNumber(cpu.substr(space + 1)), "cgroup cpu.max", limits);
  }
  return limits;
}

int AffinityOfThisProcess() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

int64_t RequestBytes(const HostLimits& limits, int64_t weights) {
  // The other shares take 13 32nds, with a third more for gRPC, which keeps to its quota roughly.
  const int64_t left = limits.memory_bytes / 32 * 19 - weights;
  return std::clamp(std::min((limits.memory_bytes - weights) / 2, left), 64 * kMebibyte,
                    8 * kGibibyte);
}

int64_t ResultCacheBytes(const HostLimits& limits) {
  return Share(limits, 32, kMebibyte, 64 * kMebibyte);
}

int64_t SlotBytes(const HostLimits& limits) { return Share(limits, 8, 16 * kMebibyte, kGibibyte); }

int64_t TransportBytes(const HostLimits& limits) {
  return Share(limits, 8, 64 * kMebibyte, 512 * kMebibyte);
}

int MaxConnections(const HostLimits& limits, bool tls) {
  const int64_t each = (tls ? 85 : 20) * kKibibyte;
  return static_cast<int>(std::clamp<int64_t>(limits.memory_bytes / 16 / each, 256, 16'384));
}

}  // namespace skipstream
