#pragma once

// Number formats of checkpoints and their exact conversions to and from float32.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera {

enum class DType : uint8_t { kF32, kF16, kBF16, kF8E4M3, kF8E8M0, kI64, kI32, kU8 };

size_t SizeOf(DType dtype);            // bytes of one element
std::string_view NameOf(DType dtype);  // the safetensors name: "F32", "BF16", "F8_E4M3"...
// kInvalidArgument for a name that is not in the list above, naming those that are.
absl::StatusOr<DType> ParseDType(std::string_view name);

struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};
struct F8E4M3 {
  uint8_t bits;
};

inline float ToFloat(BF16 v) { return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }

// Round to nearest even; NaN stays NaN (quiet), infinities stay.
inline BF16 ToBF16(float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

float ToFloat(F16 v);      // IEEE binary16, subnormals included
F16 ToF16(float v);        // round to nearest even, overflow to infinity
float ToFloat(F8E4M3 v);   // OCP E4M3FN: no infinities, 0x7f and 0xff are NaN, maximum 448
F8E4M3 ToF8E4M3(float v);  // round to nearest even, saturates at 448

}  // namespace tessera
