#pragma once

// Writes a safetensors file tensor by tensor, so that it is there whole or not at all: a part file
// beside it is flushed to disk and renamed. (What reads is common/weights.)

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/tensor/dtype.h"

namespace tessera::trainer {

struct TensorToWrite {
  std::string name;
  DType dtype;
  std::vector<uint64_t> shape;
  // Fills all bytes of the tensor.
  std::function<void(std::span<std::byte> bytes)> fill;
};

// kUnavailable naming the file: it cannot be written.
absl::Status WriteTensorFile(const std::string& path, std::span<const TensorToWrite> tensors);
// A text file in the same way.
absl::Status WriteWholeFile(const std::string& path, std::string_view content);

}  // namespace tessera::trainer
