#pragma once

// What UCX leaves in this box's shared memory.

#include <filesystem>
#include <set>
#include <string>

#include "tests/support/wait_until.h"

namespace tessera::testing {

// The names of UCX's segments at this moment, of every process of the box.
inline std::set<std::string> UcxSegments() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    const std::string name = entry.path().filename();
    if (name.starts_with("ucx_")) names.insert(name);
  }
  return names;
}

// Those that were not there `before` and stay. UCX takes a name away as soon as it has made the
// segment: a name that goes within the limit belongs to a test beside this one, which just began.
inline std::set<std::string> UcxSegmentsLeft(const std::set<std::string>& before) {
  std::set<std::string> left = UcxSegments();
  std::erase_if(left, [&](const std::string& name) { return before.contains(name); });
  WaitUntil([&] {
    const std::set<std::string> now = UcxSegments();
    std::erase_if(left, [&](const std::string& name) { return !now.contains(name); });
    return left.empty();
  });
  return left;
}

}  // namespace tessera::testing
