#include "common/tensor/dtype.h"

#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace tessera {
namespace {

struct Entry {
  DType dtype;
  std::string_view name;
  size_t size;
};
constexpr std::array<Entry, 8> kTable = {{{DType::kF32, "F32", 4},
                                          {DType::kF16, "F16", 2},
                                          {DType::kBF16, "BF16", 2},
                                          {DType::kF8E4M3, "F8_E4M3", 1},
                                          {DType::kF8E8M0, "F8_E8M0", 1},
                                          {DType::kI64, "I64", 8},
                                          {DType::kI32, "I32", 4},
                                          {DType::kU8, "U8", 1}}};

const Entry& EntryOf(DType dtype) { return kTable[static_cast<size_t>(dtype)]; }

}  // namespace

size_t SizeOf(DType dtype) { return EntryOf(dtype).size; }
std::string_view NameOf(DType dtype) { return EntryOf(dtype).name; }

absl::StatusOr<DType> ParseDType(std::string_view name) {
  for (const Entry& entry : kTable) {
    if (entry.name == name) return entry.dtype;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "dtype '", std::string(name),
      "' is not supported; supported are F32, F16, BF16, F8_E4M3, F8_E8M0, I64, I32, U8"));
}

float ToFloat(F16 v) {
  const uint32_t sign = static_cast<uint32_t>(v.bits & 0x8000u) << 16;
  const uint32_t exponent = (v.bits >> 10) & 0x1fu;
  const uint32_t fraction = v.bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
  const float subnormal = static_cast<float>(fraction) * 0x1.0p-24f;
  return sign ? -subnormal : subnormal;
}

F16 ToF16(float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v);
  const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
  const uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u)
    return {static_cast<uint16_t>(sign | 0x7c00u)};  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {  // below 2^-14: the addition rounds to a multiple of 2^-24
    const float rounded = std::bit_cast<float>(magnitude) + 0x1.0p-1f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(rounded) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

float ToFloat(F8E4M3 v) {
  const int exponent = (v.bits >> 3) & 0xf;
  const int fraction = v.bits & 7;
  if (exponent == 15 && fraction == 7) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -9)
                              : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return (v.bits & 0x80) ? -magnitude : magnitude;
}

F8E4M3 ToF8E4M3(float v) {
  const uint8_t sign = std::signbit(v) ? 0x80 : 0;
  if (std::isnan(v)) return {static_cast<uint8_t>(sign | 0x7f)};
  const float magnitude = std::fabs(v);
  if (magnitude >= 448.0f) return {static_cast<uint8_t>(sign | 0x7e)};
  int exponent = 0;
  std::frexp(magnitude, &exponent);                  // magnitude in [2^(e-1), 2^e)
  const int shift = std::max(exponent - 1, -6) - 3;  // weight of the last fraction bit
  const float steps = std::nearbyint(std::ldexp(magnitude, -shift));  // 0 .. 16
  const int biased = shift + 3 + 7;  // exponent field of a normal number, >= 1
  // Normal numbers carry an implicit 8; 16 steps carry into the exponent by the same addition.
  const int code =
      steps < 8 ? static_cast<int>(steps) : ((biased - 1) << 3) + static_cast<int>(steps);
  return {static_cast<uint8_t>(sign | code)};
}

}  // namespace tessera
