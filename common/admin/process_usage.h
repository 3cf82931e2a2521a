#pragma once

#include <cstddef>

namespace tessera {

struct ProcessUsage {
  double cpu_seconds = 0;  // user and system, all threads, ended ones too
  size_t resident_bytes = 0;
  size_t thread_count = 0;
};

// Of this process, from /proc/self/stat (proc(5)); zeros where there is none.
ProcessUsage ReadProcessUsage();

}  // namespace tessera
