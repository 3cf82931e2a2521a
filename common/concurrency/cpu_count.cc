#include "common/concurrency/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/base/cgroup.h"

namespace tessera {
namespace {

size_t AffinityCount() {
  // The kernel refuses a mask smaller than its own, so it grows until it fits.
  for (size_t cpus = 1024; cpus <= (size_t{1} << 20); cpus *= 4) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(
        CPU_ALLOC(cpus), [](cpu_set_t* set) { CPU_FREE(set); });
    const size_t mask_bytes = CPU_ALLOC_SIZE(cpus);
    CPU_ZERO_S(mask_bytes, mask.get());
    if (sched_getaffinity(0, mask_bytes, mask.get()) == 0) {
      return std::max<size_t>(1, static_cast<size_t>(CPU_COUNT_S(mask_bytes, mask.get())));
    }
  }
  return 1;
}

// Quota and period as text; nothing if there is no limit.
std::optional<double> Ratio(absl::string_view quota, absl::string_view period) {
  double quota_us = 0;
  double period_us = 0;
  if (!absl::SimpleAtod(absl::StripAsciiWhitespace(quota), &quota_us) || quota_us <= 0 ||
      !absl::SimpleAtod(absl::StripAsciiWhitespace(period), &period_us) || period_us <= 0) {
    return std::nullopt;  // "max" in version 2, -1 in version 1
  }
  return quota_us / period_us;
}

std::optional<double> QuotaOf(const CgroupFolder& folder) {
  if (folder.v2) {
    const std::optional<std::string> text = ReadSystemFile(absl::StrCat(folder.path, "/cpu.max"));
    if (!text.has_value()) return std::nullopt;
    const std::vector<absl::string_view> fields = absl::StrSplit(*text, ' ');
    return fields.size() == 2 ? Ratio(fields[0], fields[1]) : std::nullopt;
  }
  const auto quota = ReadSystemFile(absl::StrCat(folder.path, "/cpu.cfs_quota_us"));
  const auto period = ReadSystemFile(absl::StrCat(folder.path, "/cpu.cfs_period_us"));
  return quota.has_value() && period.has_value() ? Ratio(*quota, *period) : std::nullopt;
}

}  // namespace

std::optional<double> CgroupCpuQuota(const std::string& root) {
  std::optional<double> smallest;
  for (const CgroupFolder& folder : CgroupFolders("cpu", root)) {
    const std::optional<double> quota = QuotaOf(folder);
    if (quota.has_value()) smallest = std::min(*quota, smallest.value_or(*quota));
  }
  return smallest;
}

size_t UsableCpuCount(const std::string& root) {
  const size_t affinity = AffinityCount();
  const std::optional<double> quota = CgroupCpuQuota(root);
  if (!quota.has_value() || *quota >= static_cast<double>(affinity)) return affinity;
  return std::max<size_t>(1, static_cast<size_t>(std::ceil(*quota)));
}

}  // namespace tessera
