#pragma once

// Whole files: read, and replaced.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera {

// The content of the file `path`; messages begin with the path.
//   kNotFound         there is none
//   kUnavailable      it cannot be opened: no permission, no descriptor left
//   kInvalidArgument  it holds more than `bytes_max`
//   kDataLoss         it cannot be read to its end; a folder
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t bytes_max = SIZE_MAX);

// Makes `path` a file that holds `content`, with the permissions `mode` less the umask. Readers see
// the old content or the new one as a whole, even after a crash: it is written beside `path`,
// flushed to the disk and renamed. Not for two threads that replace the same file at a time.
// kUnavailable begins with the path and says why; the old content is as it was.
absl::Status ReplaceFile(const std::string& path, std::string_view content, unsigned mode = 0644);

}  // namespace tessera
