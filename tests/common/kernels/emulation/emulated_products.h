#pragma once

// Products of AVX-512, and the arithmetic of one lane that they share with the tiles:
//
//   vdpbf16ps       the product of the odd elements is added first, then that of the even ones,
//   each
//                   by a fused multiply-add to nearest even; subnormal inputs count as zeros of
//                   their sign and subnormal results become such
//   vpdpbusd        exact, wraps
//   vcvtne2ps2bf16  to nearest even; subnormal inputs become zeros; NaN becomes a quiet NaN

#include <cmath>
#include <cstdint>

#include "tests/common/kernels/emulation/emulated_avx512.h"

namespace tessera::emulated {

// Subnormal numbers become zeros of their sign, in inputs (DAZ) and results (FTZ). A result counts
// as subnormal after rounding, as it does for SSE and AVX.
inline float Flush(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }

inline float FlushedFma(float a, float b, float sum) {
  return Flush(std::fma(Flush(a), Flush(b), Flush(sum)));
}
inline float FlushedAdd(float a, float b) { return Flush(Flush(a) + Flush(b)); }

// Element 0 or 1 of a pair of bf16.
inline float Bf16Of(uint32_t pair, int element) {
  return std::bit_cast<float>(element == 0 ? pair << 16 : pair & 0xffff0000u);
}

// sum + a . b of four signed or unsigned bytes each; wraps.
template <typename A, typename B>
inline uint32_t DotBytes(uint32_t sum, uint32_t a, uint32_t b) {
  for (int i = 0; i < 32; i += 8) {
    const int product = int{static_cast<A>(a >> i)} * int{static_cast<B>(b >> i)};
    sum += static_cast<uint32_t>(product);
  }
  return sum;
}

inline uint16_t RoundToBf16(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  if (std::isnan(v)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  if (std::fabs(v) < 0x1p-126f) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline __m512 DotBf16(__m512 sum, __m512bh a, __m512bh b) {
  const Lanes<uint32_t> as = LanesOf<uint32_t>(a);
  const Lanes<uint32_t> bs = LanesOf<uint32_t>(b);
  Lanes<float> result = LanesOf<float>(sum);
  for (size_t i = 0; i < 16; ++i) {
    for (const int element : {1, 0}) {
      result[i] = FlushedFma(Bf16Of(as[i], element), Bf16Of(bs[i], element), result[i]);
    }
  }
  return VectorOf<__m512>(result);
}

inline __m512i DotU8I8(__m512i sum, __m512i a, __m512i b) {
  Lanes<uint32_t> result = LanesOf<uint32_t>(sum);
  for (size_t i = 0; i < 16; ++i) {
    result[i] =
        DotBytes<uint8_t, int8_t>(result[i], LanesOf<uint32_t>(a)[i], LanesOf<uint32_t>(b)[i]);
  }
  return VectorOf<__m512i>(result);
}

// The second argument becomes the lower half.
inline __m512bh TwoToBf16(__m512 high, __m512 low) {
  Lanes<uint16_t> result;
  for (size_t i = 0; i < 16; ++i) {
    result[i] = RoundToBf16(LanesOf<float>(low)[i]);
    result[i + 16] = RoundToBf16(LanesOf<float>(high)[i]);
  }
  return VectorOf<__m512bh>(result);
}

}  // namespace tessera::emulated
