#pragma once

// Writes safetensors files for tests, valid ones and, through the header's text, broken ones.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/tensor/dtype.h"

namespace tessera::testing {

struct FileTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  std::string bytes;  // row-major, little-endian
};

// `values` in `dtype` (a float format), rounded to nearest.
std::string Encode(std::span<const float> values, DType dtype);

// A file with `header` as it stands and `data` behind it.
std::string SafetensorsFile(std::string_view header, std::string_view data);
// A valid file of `tensors`, in their order.
std::string SafetensorsFile(std::span<const FileTensor> tensors);

// model.safetensors, or, for more than one shard, shards of about equal size and their index.
void WriteCheckpoint(const std::string& directory, std::span<const FileTensor> tensors,
                     size_t shard_count = 1);

}  // namespace tessera::testing
