#pragma once

#include <cstddef>

namespace tessera {

struct ProcessUsage {
  double cpu_seconds = 0;  // user and system, all threads, ended ones too
  size_t resident_bytes = 0;
  size_t thread_count = 0;
  double start_seconds = 0;  // Unix time of its start
};

// Of this process, from /proc/self/stat and /proc/stat (proc(5)); zeros where there are none.
ProcessUsage ReadProcessUsage();

}  // namespace tessera
