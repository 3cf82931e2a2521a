#pragma once

// Where the control group of this process keeps its limits.

#include <optional>
#include <string>
#include <vector>

namespace tessera {

// One folder of the control group file system.
struct CgroupFolder {
  std::string path;
  bool v2 = false;  // false: a hierarchy of version 1, whose files have other names
};

// The folders of this process's group for `controller` ("cpu", "memory") and of all its parents,
// innermost first; a limit holds if any of them sets it. Folders that cannot be seen are left out
// (in a container the group's name may be the host's, while its files lie at the top). Empty where
// there are no control groups. `root` is "/" but for tests.
std::vector<CgroupFolder> CgroupFolders(const std::string& controller,
                                        const std::string& root = "/");

// A whole small file of /proc or /sys; nothing if it cannot be read.
std::optional<std::string> ReadSystemFile(const std::string& path);

}  // namespace tessera
