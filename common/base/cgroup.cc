#include "common/base/cgroup.h"

#include <sys/stat.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"

namespace tessera {
namespace {

bool IsFolder(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Appends base + group and every parent down to base itself.
void AppendWithParents(const std::string& base, absl::string_view group, bool v2,
                       std::vector<CgroupFolder>& folders) {
  if (!IsFolder(base)) return;
  while (absl::ConsumeSuffix(&group, "/")) {
  }
  // A group outside our view is shown with leading "..": only the top can be read then.
  if (absl::StartsWith(group, "/..")) group = "";
  while (!group.empty()) {
    std::string path = absl::StrCat(base, group);
    if (IsFolder(path)) folders.push_back({std::move(path), v2});
    group = group.substr(0, group.rfind('/'));
  }
  folders.push_back({base, v2});
}

}  // namespace

std::optional<std::string> ReadSystemFile(const std::string& path) {
  absl::StatusOr<std::string> text = ReadWholeFile(path);
  if (!text.ok()) return std::nullopt;
  return *std::move(text);
}

std::vector<CgroupFolder> CgroupFolders(const std::string& controller, const std::string& root) {
  std::vector<CgroupFolder> folders;
  const std::string top = absl::StrCat(absl::StripSuffix(root, "/"), "/sys/fs/cgroup");
  const std::optional<std::string> groups =
      ReadSystemFile(absl::StrCat(absl::StripSuffix(root, "/"), "/proc/self/cgroup"));
  if (!groups.has_value()) return folders;
  // Lines "hierarchy:controllers:group"; version 2 is "0::group".
  for (const absl::string_view line : absl::StrSplit(*groups, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3 || !absl::StartsWith(fields[2], "/")) continue;
    if (fields[0] == "0" && fields[1].empty()) {
      const std::string unified = absl::StrCat(top, "/unified");  // both versions mounted
      AppendWithParents(IsFolder(unified) ? unified : top, fields[2], /*v2=*/true, folders);
      continue;
    }
    for (const absl::string_view name : absl::StrSplit(fields[1], ',')) {
      if (name != controller) continue;
      const std::string joint = absl::StrCat(top, "/", fields[1]);
      AppendWithParents(IsFolder(joint) ? joint : absl::StrCat(top, "/", name), fields[2],
                        /*v2=*/false, folders);
    }
  }
  return folders;
}

}  // namespace tessera
