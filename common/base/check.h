#pragma once

// TESSERA_CHECK(condition) stops the process with file, line and condition: for what only a bug of
// ours can cause. What the world can cause is an absl::Status. Checks stay on in release builds;
// keep them out of inner loops (TESSERA_DCHECK is for those and vanishes with NDEBUG).

namespace tessera {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace tessera

#define TESSERA_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::tessera::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define TESSERA_DCHECK(condition) static_cast<void>(sizeof(condition))
#else
#define TESSERA_DCHECK(condition) TESSERA_CHECK(condition)
#endif
