#pragma once

// While it lives, the process may map only so much more memory than it has now; what goes beyond it
// throws std::bad_alloc. Without effect where a sanitizer maps terabytes.

#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>

namespace tessera::testing {

class MemoryLimit {
 public:
  explicit MemoryLimit(size_t bytes_more) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    limit.rlim_cur = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + bytes_more;
    set_ = pages > 0 && setrlimit(RLIMIT_AS, &limit) == 0;
#else
    (void)bytes_more;
#endif
  }
  ~MemoryLimit() {
    if (set_) setrlimit(RLIMIT_AS, &before_);
  }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_{};
  bool set_ = false;
};

}  // namespace tessera::testing
