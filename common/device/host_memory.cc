#include "common/device/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/base/cgroup.h"

namespace tessera {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

// The number after `key` and blanks at the start of a line: "MemAvailable:  123 kB", "file 12".
std::optional<uint64_t> NumberAfter(absl::string_view text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, key)) continue;
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(line);
    if (rest.size() == line.size()) continue;  // a longer key
    uint64_t value = 0;
    const std::vector<absl::string_view> words =
        absl::StrSplit(rest, absl::MaxSplits(absl::ByAnyChar(" \t"), 1));
    if (absl::SimpleAtoi(words[0], &value)) return value;
  }
  return std::nullopt;
}

std::optional<uint64_t> NumberIn(const std::string& path) {
  const std::optional<std::string> text = ReadSystemFile(path);
  uint64_t value = 0;
  if (!text.has_value() || !absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &value)) {
    return std::nullopt;  // "max" too
  }
  return value;
}

// Names of version 1 and 2 for the same things.
struct FileNames {
  absl::string_view limit, soft_limit, used, inactive_cache, active_cache;
};
constexpr FileNames kV1{"memory.limit_in_bytes", "", "memory.usage_in_bytes", "total_inactive_file",
                        "total_active_file"};
// Past memory.high the kernel throttles a process almost to a halt, so it counts as a limit.
constexpr FileNames kV2{"memory.max", "memory.high", "memory.current", "inactive_file",
                        "active_file"};

size_t FreeIn(const CgroupFolder& folder) {
  const FileNames& names = folder.v2 ? kV2 : kV1;
  const auto path = [&](absl::string_view name) { return absl::StrCat(folder.path, "/", name); };
  uint64_t limit = NumberIn(path(names.limit)).value_or(kNoLimit);
  if (!names.soft_limit.empty()) {
    limit = std::min(limit, NumberIn(path(names.soft_limit)).value_or(kNoLimit));
  }
  // Version 1 writes "no limit" as the largest multiple of a page.
  constexpr uint64_t kLargestRealLimit = uint64_t{1} << 60;
  const std::optional<uint64_t> used = NumberIn(path(names.used));
  if (limit > kLargestRealLimit || !used.has_value()) return kNoLimit;
  const std::string stat = ReadSystemFile(path("memory.stat")).value_or("");
  const uint64_t cache = NumberAfter(stat, names.inactive_cache).value_or(0) +
                         NumberAfter(stat, names.active_cache).value_or(0);
  const uint64_t held = *used - std::min(*used, cache);
  return limit - std::min(limit, held);
}

}  // namespace

absl::StatusOr<MemoryBudget> ReadMemoryBudget(const std::string& root) {
  const std::string path = absl::StrCat(absl::StripSuffix(root, "/"), "/proc/meminfo");
  const std::optional<std::string> meminfo = ReadSystemFile(path);
  if (!meminfo.has_value()) return absl::InternalError(absl::StrCat("cannot read ", path));
  const std::optional<uint64_t> available_kb = NumberAfter(*meminfo, "MemAvailable:");
  if (!available_kb.has_value()) {
    return absl::InternalError(
        absl::StrCat(path, " has no line MemAvailable (Linux 3.14 or newer)"));
  }
  MemoryBudget budget;
  budget.free_bytes = static_cast<size_t>(*available_kb) * 1024;
  budget.cgroup_free_bytes = kNoLimit;
  for (const CgroupFolder& folder : CgroupFolders("memory", root)) {
    budget.cgroup_free_bytes = std::min(budget.cgroup_free_bytes, FreeIn(folder));
  }
  budget.available_bytes = std::min(budget.free_bytes, budget.cgroup_free_bytes);
  return budget;
}

size_t ResidentBytes() {
  // "size resident shared ..." in pages; VmRSS of status lags behind by up to 64 pages a thread.
  const std::string text = ReadSystemFile("/proc/self/statm").value_or("");
  const std::vector<absl::string_view> words = absl::StrSplit(text, ' ');
  uint64_t pages = 0;
  if (words.size() < 2 || !absl::SimpleAtoi(words[1], &pages)) return 0;
  return static_cast<size_t>(pages) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

size_t PeakResidentBytes() {
  const std::string text = ReadSystemFile("/proc/self/status").value_or("");
  const size_t peak = static_cast<size_t>(NumberAfter(text, "VmHWM:").value_or(0)) * 1024;
  return std::max(peak, ResidentBytes());
}

}  // namespace tessera
