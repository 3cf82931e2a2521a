#pragma once

// The header of a safetensors file.
//
//   bytes  [0, 8)        n, unsigned little-endian
//          [8, 8 + n)    JSON: {"__metadata__": {...}, "<tensor>": {"dtype", "shape",
//          "data_offsets"}} [8 + n, end)  the tensors, row-major, little-endian, without gaps or
//          overlaps
//
// Format: https://huggingface.co/docs/safetensors (data_offsets count from byte 8 + n).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tensor/dtype.h"

namespace tessera {

// Where one tensor lies. The numbers agree with each other and with the file they came from.
struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;  // outermost first; empty: one number
  uint64_t offset = 0;          // from the beginning of the file; not necessarily aligned
  uint64_t size_bytes = 0;      // product of shape times SizeOf(dtype); may be 0
  uint32_t file = 0;            // which file of a checkpoint
};

std::string ShapeText(std::span<const uint64_t> shape);  // "[256, 64]"

// Tensors of the file whose bytes are `file`, ascending by offset.
// Errors: kDataLoss for everything that contradicts the format (a header larger than the file or
// than 100 MB, bad JSON, a name that stands twice, offsets that overlap, leave a gap or pass the
// end, a length that is not shape times dtype) or a dtype we do not know, naming the tensor.
absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(std::span<const std::byte> file);

}  // namespace tessera
