#pragma once

// A weight matrix W [outputs, inputs] in the form the matrix products read.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/tensor/aligned_buffer.h"
#include "common/tensor/tensor_view.h"

namespace tessera::kernels {

// kQ8: blocks of 32 inputs, one F16 scale a block, value = scale * int8, scale = absmax/127.
// kQ4: blocks of 32 inputs, one F16 scale a block, value = scale * (nibble - 8), 4.5 bits a weight.
enum class WeightType : uint8_t { kF32, kBF16, kQ8, kQ4 };
std::string_view NameOf(WeightType type);  // "f32", "bf16", "q8", "q4"

// How the numbers lie. kPanels: packed for this library, panels of 32 outputs over the whole K (see
// weight_layout.h for the bytes). kRows: row-major as a checkpoint stores it, for use straight
// from a map.
enum class WeightLayout : uint8_t { kPanels, kRows };

// Immutable after construction, so thread-safe. Owns its packed bytes, or borrows a map's.
// Movable; empty when default-constructed.
class WeightMatrix {
 public:
  WeightMatrix() = default;

  // Bytes a packed [outputs, inputs] matrix takes; outputs are padded to 32, inputs to 32 (zeros).
  static size_t PackedBytes(WeightType type, size_t outputs, size_t inputs);
  // The same for a woven pair of [width, inputs] each; the width is padded to 16.
  static size_t PackedGateUpBytes(WeightType type, size_t width, size_t inputs);
  // Packs into memory of its own. Errors: kResourceExhausted (memory), kInvalidArgument (not a
  // float dtype, no elements), kDataLoss (a weight that is NaN or infinite, or too large for bf16,
  // named by row and column).
  static absl::StatusOr<WeightMatrix> Pack(const TensorView& source, WeightType type);
  // Gate and up projections of a SwiGLU, both [width, inputs], woven: a panel holds 16 gate rows
  // and the same 16 up rows, so that silu(gate)*up happens on the result of one panel. outputs() is
  // twice the width padded to 16. Both need the same shape and dtype (kInvalidArgument).
  static absl::StatusOr<WeightMatrix> PackGateUp(const TensorView& gate, const TensorView& up,
                                                 WeightType type);
  // The same two, into `bytes` that the caller keeps alive (exactly PackedBytes or
  // PackedGateUpBytes, 64-byte aligned, else kInvalidArgument): experts of a layer share one
  // buffer.
  static absl::StatusOr<WeightMatrix> PackInto(const TensorView& source, WeightType type,
                                               std::span<std::byte> bytes);
  static absl::StatusOr<WeightMatrix> PackGateUpInto(const TensorView& gate, const TensorView& up,
                                                     WeightType type, std::span<std::byte> bytes);
  // Borrows F32 or BF16 rows without copying (kRows). kInvalidArgument for another dtype or block
  // scales.
  static absl::StatusOr<WeightMatrix> Borrow(const TensorView& source);

  size_t outputs() const { return outputs_; }
  size_t inputs() const { return inputs_; }
  WeightType type() const { return type_; }
  WeightLayout layout() const { return layout_; }
  bool empty() const { return outputs_ == 0; }
  bool is_gate_up() const { return gate_up_; }
  const std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }  // read once per product: what decode pays for
  // Widens one row (of a gate_up: the first outputs()/2 rows are gate, the others up) to float32;
  // for tests and the oracle.
  void ReadRow(size_t row, std::span<float> out) const;

 private:
  AlignedBuffer owned_;
  const std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
  size_t outputs_ = 0;
  size_t inputs_ = 0;
  WeightType type_ = WeightType::kF32;
  WeightLayout layout_ = WeightLayout::kPanels;
  bool gate_up_ = false;
};

}  // namespace tessera::kernels
