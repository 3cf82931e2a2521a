#pragma once

// The AVX-512 intrinsics the kernels use, in plain C++ and AVX2, for CPUs without AVX-512:
// intrinsic_names.h gives them these meanings.
//
// Meanings are those of Intel's manual. What AVX2 has for 256 bits runs on both halves. Memory is
// touched only where the instruction would touch it (masked lanes are not read), and what the
// instruction wants aligned must be.
// reduce_add_ps is what gcc makes of it: halves are added until one lane is left. Products are in
// emulated_products.h.

#include <immintrin.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/base/check.h"

namespace tessera::emulated {

template <typename Lane>
using Lanes = std::array<Lane, 64 / sizeof(Lane)>;

template <typename Lane, typename Vector>
inline Lanes<Lane> LanesOf(const Vector& v) {
  return std::bit_cast<Lanes<Lane>>(v);
}
template <typename Vector, typename Lane, size_t kCount>
inline Vector VectorOf(const std::array<Lane, kCount>& lanes) {
  return std::bit_cast<Vector>(lanes);
}

// The halves of a vector, as AVX2 knows them.
struct Halves {
  __m256i low;
  __m256i high;
};
template <typename Vector>
inline Halves HalvesOf(const Vector& v) {
  return std::bit_cast<Halves>(v);
}
inline __m512i Join(__m256i low, __m256i high) { return std::bit_cast<__m512i>(Halves{low, high}); }
inline __m512 Join(__m256 low, __m256 high) {
  return std::bit_cast<__m512>(Halves{_mm256_castps_si256(low), _mm256_castps_si256(high)});
}
inline __m256 Low(__m512 v) { return _mm256_castsi256_ps(HalvesOf(v).low); }
inline __m256 High(__m512 v) { return _mm256_castsi256_ps(HalvesOf(v).high); }
inline __m256i Low(__m512i v) { return HalvesOf(v).low; }
inline __m256i High(__m512i v) { return HalvesOf(v).high; }

template <typename Vector>
inline Vector LoadAligned(const void* p) {
  TESSERA_CHECK(reinterpret_cast<uintptr_t>(p) % sizeof(Vector) == 0);
  Vector v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
template <typename Vector>
inline void StoreAligned(void* p, const Vector& v) {
  TESSERA_CHECK(reinterpret_cast<uintptr_t>(p) % sizeof(Vector) == 0);
  std::memcpy(p, &v, sizeof(v));
}
template <typename Vector, typename Lane>
inline Vector LoadMasked(uint64_t mask, const void* p) {
  std::array<Lane, sizeof(Vector) / sizeof(Lane)> lanes = {};
  for (size_t i = 0; i < lanes.size(); ++i) {
    if ((mask >> i & 1) == 0) continue;
    std::memcpy(&lanes[i], static_cast<const std::byte*>(p) + i * sizeof(Lane), sizeof(Lane));
  }
  return VectorOf<Vector>(lanes);
}

inline __m512 Set1F32(float value) { return Join(_mm256_set1_ps(value), _mm256_set1_ps(value)); }
inline __m512i Set1I32(int value) {
  return Join(_mm256_set1_epi32(value), _mm256_set1_epi32(value));
}
inline __m512i Set1I8(int value) {
  const __m256i half = _mm256_set1_epi8(static_cast<char>(value));
  return Join(half, half);
}
template <typename... Int>
inline __m512i SetReversed(Int... values) {
  return VectorOf<__m512i>(Lanes<int32_t>{values...});
}
// The last argument is lane 0.
inline __m512i Set4(int d, int c, int b, int a) {
  return Join(_mm256_setr_epi32(a, b, c, d, a, b, c, d), _mm256_setr_epi32(a, b, c, d, a, b, c, d));
}

#define TESSERA_EMULATED_PAIR(name, vector, operation)                   \
  inline vector name(vector a, vector b) {                               \
    return Join(operation(Low(a), Low(b)), operation(High(a), High(b))); \
  }
TESSERA_EMULATED_PAIR(AddI32, __m512i, _mm256_add_epi32)
TESSERA_EMULATED_PAIR(And, __m512i, _mm256_and_si256)
TESSERA_EMULATED_PAIR(Xor, __m512i, _mm256_xor_si256)
TESSERA_EMULATED_PAIR(SubI8, __m512i, _mm256_sub_epi8)
TESSERA_EMULATED_PAIR(MulLowI32, __m512i, _mm256_mullo_epi32)
TESSERA_EMULATED_PAIR(MaxU32, __m512i, _mm256_max_epu32)
TESSERA_EMULATED_PAIR(ShuffleI8, __m512i, _mm256_shuffle_epi8)
TESSERA_EMULATED_PAIR(MulF32, __m512, _mm256_mul_ps)
#undef TESSERA_EMULATED_PAIR

inline __m512 FmaF32(__m512 a, __m512 b, __m512 c) {
  return Join(_mm256_fmadd_ps(Low(a), Low(b), Low(c)), _mm256_fmadd_ps(High(a), High(b), High(c)));
}
inline __m512i ShiftLeftI32(__m512i v, unsigned count) {
  const int n = static_cast<int>(count);
  return Join(_mm256_slli_epi32(Low(v), n), _mm256_slli_epi32(High(v), n));
}
inline __m512i ShiftRightI32(__m512i v, unsigned count) {
  const int n = static_cast<int>(count);
  return Join(_mm256_srli_epi32(Low(v), n), _mm256_srli_epi32(High(v), n));
}
inline __m512i ShiftRightI16(__m512i v, unsigned count) {
  const int n = static_cast<int>(count);
  return Join(_mm256_srli_epi16(Low(v), n), _mm256_srli_epi16(High(v), n));
}
inline __m512i MaskOrI32(__m512i from, __mmask16 mask, __m512i a, __m512i b) {
  Lanes<uint32_t> result = LanesOf<uint32_t>(from);
  for (size_t i = 0; i < 16; ++i) {
    if ((mask >> i & 1) != 0) result[i] = LanesOf<uint32_t>(a)[i] | LanesOf<uint32_t>(b)[i];
  }
  return VectorOf<__m512i>(result);
}

// ---- moving lanes ----

inline __m512i InsertHalf(__m512i v, __m256i half, int place) {
  return place == 0 ? Join(half, High(v)) : Join(Low(v), half);
}
inline __m512 PermuteF32(__m512i order, __m512 v) {
  Lanes<float> result;
  for (size_t i = 0; i < 16; ++i) result[i] = LanesOf<float>(v)[LanesOf<uint32_t>(order)[i] % 16];
  return VectorOf<__m512>(result);
}
inline __m512i MaskzPermuteI8(__mmask64 mask, __m512i order, __m512i v) {
  const Lanes<uint8_t> from = LanesOf<uint8_t>(v);
  const Lanes<uint8_t> index = LanesOf<uint8_t>(order);
  Lanes<uint8_t> result;
  for (size_t i = 0; i < 64; ++i) result[i] = (mask >> i & 1) != 0 ? from[index[i] % 64] : 0;
  return VectorOf<__m512i>(result);
}
inline __m512 GatherF32(__m512i index, const void* base, int scale) {
  Lanes<float> result;
  for (size_t i = 0; i < 16; ++i) {
    const ptrdiff_t offset = ptrdiff_t{LanesOf<int32_t>(index)[i]} * scale;
    std::memcpy(&result[i], static_cast<const std::byte*>(base) + offset, 4);
  }
  return VectorOf<__m512>(result);
}
inline void ScatterI32(void* base, __m512i index, __m512i v, int scale) {
  for (size_t i = 0; i < 16; ++i) {
    const ptrdiff_t offset = ptrdiff_t{LanesOf<int32_t>(index)[i]} * scale;
    std::memcpy(static_cast<std::byte*>(base) + offset, &LanesOf<int32_t>(v)[i], 4);
  }
}

// ---- conversions and comparisons ----

inline __m512 ToF32(__m512i v) {
  return Join(_mm256_cvtepi32_ps(Low(v)), _mm256_cvtepi32_ps(High(v)));
}
inline __m512i ToI32(__m512 v) {
  return Join(_mm256_cvtps_epi32(Low(v)), _mm256_cvtps_epi32(High(v)));
}
inline __m512 HalfToF32(__m256i v) {
  return Join(_mm256_cvtph_ps(_mm256_castsi256_si128(v)),
              _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)));
}
inline __m512i WidenU16(__m256i v) {
  return Join(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(v)),
              _mm256_cvtepu16_epi32(_mm256_extracti128_si256(v, 1)));
}
inline __m256i TruncateToI16(__m512i v) {
  std::array<uint16_t, 16> result;
  for (size_t i = 0; i < 16; ++i) result[i] = static_cast<uint16_t>(LanesOf<uint32_t>(v)[i]);
  return std::bit_cast<__m256i>(result);
}
inline __m128i SaturateToI8(__m512i v) {
  std::array<int8_t, 16> result;
  for (size_t i = 0; i < 16; ++i) {
    const int32_t lane = LanesOf<int32_t>(v)[i];
    result[i] = static_cast<int8_t>(lane < -128 ? -128 : (lane > 127 ? 127 : lane));
  }
  return std::bit_cast<__m128i>(result);
}
// Only _CMP_UNORD_Q.
inline __mmask16 CompareF32(__m512 a, __m512 b, int predicate) {
  TESSERA_CHECK(predicate == _CMP_UNORD_Q);
  unsigned mask = 0;
  for (size_t i = 0; i < 16; ++i) {
    if (std::isnan(LanesOf<float>(a)[i]) || std::isnan(LanesOf<float>(b)[i])) mask |= 1u << i;
  }
  return static_cast<__mmask16>(mask);
}

// ---- sums over lanes ----

inline float ReduceAddF32(__m512 v) {
  Lanes<float> lanes = LanesOf<float>(v);
  for (size_t half = 8; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}
inline int ReduceAddI32(__m512i v) {
  uint32_t sum = 0;
  for (const uint32_t lane : LanesOf<uint32_t>(v)) sum += lane;
  return static_cast<int>(sum);
}
inline unsigned ReduceMaxU32(__m512i v) {
  uint32_t most = 0;
  for (const uint32_t lane : LanesOf<uint32_t>(v)) most = lane > most ? lane : most;
  return most;
}

}  // namespace tessera::emulated
