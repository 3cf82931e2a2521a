// Eight rows at a time: each row becomes one to four vectors of eight 4-byte units (a float, a bf16
// pair, an int8 quadruple), and an 8 x 8 transpose of units turns the eight vectors into half
// lines.

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "common/kernels/weight_pack.h"

namespace tessera::kernels {
namespace {

constexpr size_t kGroup = 8;                  // rows transposed together
constexpr size_t kPrefetchAheadBytes = 1024;  // of each of the 32 source rows

__m256i LoadBytes(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
void StoreBytes(std::byte* p, __m256i v) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), v); }

// v[r] holds units 0..7 of row r; afterwards v[u] holds unit u of rows 0..7.
void Transpose8x8(__m256i v[kGroup]) {
  __m256i a[kGroup];
  __m256i b[kGroup];
  for (size_t i = 0; i < kGroup; i += 2) {
    a[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
    a[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (size_t i = 0; i < kGroup; i += 4) {
    b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (size_t i = 0; i < 4; ++i) {
    v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
    v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
  }
}

// Eight weights from input k on, widened exactly.
template <bool kFromBF16>
__m256 LoadFloats(const std::byte* row, size_t k) {
  if constexpr (kFromBF16) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + k * 2));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  } else {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(row + k * 4));
  }
}

// All ones in the lanes that are NaN or infinite.
__m256i NonFinite(__m256 v) {
  const __m256i exponent = _mm256_set1_epi32(0x7f800000);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(v), exponent), exponent);
}

__m256i RoundToBF16Bits(__m256 v) {
  const __m256i u = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd),
                           16);
}

// Inputs k .. k+15 as bf16 pairs; sets lanes of `bad` where a result is not finite.
template <bool kFromBF16>
__m256i PairsOf(const std::byte* row, size_t k, __m256i& bad) {
  __m256i pairs;
  if constexpr (kFromBF16) {
    pairs = LoadBytes(row + k * 2);
  } else {
    const __m256 low = LoadFloats<false>(row, k);
    const __m256 high = LoadFloats<false>(row, k + 8);
    // A NaN could round to anything: it is looked for before.
    bad = _mm256_or_si256(bad, _mm256_or_si256(NonFinite(low), NonFinite(high)));
    pairs = _mm256_permute4x64_epi64(
        _mm256_packus_epi32(RoundToBF16Bits(low), RoundToBF16Bits(high)), 0xd8);
  }
  const __m256i exponent = _mm256_set1_epi16(0x7f80);
  bad = _mm256_or_si256(bad, _mm256_cmpeq_epi16(_mm256_and_si256(pairs, exponent), exponent));
  return pairs;
}

// The half lines of eight rows: unit u of them goes to `out` + u lines.
void StoreHalfLines(__m256i v[kGroup], std::byte* out) {
  Transpose8x8(v);
  for (size_t u = 0; u < kGroup; ++u) StoreBytes(out + u * kLineBytes, v[u]);
}

template <bool kFromBF16>
void PackGroupF32(const std::byte* const* rows, size_t k, std::byte* out, __m256i& bad) {
  for (size_t part = 0; part < 4; ++part) {
    __m256i v[kGroup];
    for (size_t r = 0; r < kGroup; ++r) {
      const __m256 weights = LoadFloats<kFromBF16>(rows[r], k + part * 8);
      bad = _mm256_or_si256(bad, NonFinite(weights));
      v[r] = _mm256_castps_si256(weights);
    }
    StoreHalfLines(v, out + part * 8 * kLineBytes);
  }
}

template <bool kFromBF16>
void PackGroupBF16(const std::byte* const* rows, size_t k, std::byte* out, __m256i& bad) {
  for (size_t part = 0; part < 2; ++part) {
    __m256i v[kGroup];
    for (size_t r = 0; r < kGroup; ++r) v[r] = PairsOf<kFromBF16>(rows[r], k + part * 16, bad);
    StoreHalfLines(v, out + part * 8 * kLineBytes);
  }
}

// The largest (or, negated, smallest) lane of each of eight vectors, one a lane.
__m256 MaxOfEach(__m256 v[kGroup]) {
  __m256i t[kGroup];
  for (size_t r = 0; r < kGroup; ++r) t[r] = _mm256_castps_si256(v[r]);
  Transpose8x8(t);
  __m256 result = _mm256_castsi256_ps(t[0]);
  for (size_t r = 1; r < kGroup; ++r) result = _mm256_max_ps(result, _mm256_castsi256_ps(t[r]));
  return result;
}

// Scales of eight rows: stores them as F16 and gives 1 / scale, 0 for scale 0.
__m256 StoreScales(__m256 exact, std::byte* scales) {
  const __m256 limit = _mm256_set1_ps(65504.0f);
  const __m256 clamped =
      _mm256_max_ps(_mm256_min_ps(exact, limit), _mm256_sub_ps(_mm256_setzero_ps(), limit));
  const __m128i half = _mm256_cvtps_ph(clamped, _MM_FROUND_TO_NEAREST_INT);
  _mm_store_si128(reinterpret_cast<__m128i*>(scales), half);
  const __m256 rounded = _mm256_cvtph_ps(half);
  const __m256 is_zero = _mm256_cmp_ps(rounded, _mm256_setzero_ps(), _CMP_EQ_OQ);
  return _mm256_andnot_ps(is_zero, _mm256_div_ps(_mm256_set1_ps(1.0f), rounded));
}

// 32 inputs of a row as eight int8 quadruples, limited to [low, high].
template <bool kFromBF16>
__m256i QuadruplesOf(const std::byte* row, size_t k, __m256 inverse, float low, float high) {
  __m256i v[4];
  for (size_t part = 0; part < 4; ++part) {
    const __m256 scaled = _mm256_mul_ps(LoadFloats<kFromBF16>(row, k + part * 8), inverse);
    v[part] = _mm256_cvtps_epi32(
        _mm256_min_ps(_mm256_max_ps(scaled, _mm256_set1_ps(low)), _mm256_set1_ps(high)));
  }
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  // The packs interleave 128-bit lanes: units arrive as 0 2 4 6 1 3 5 7.
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

template <bool kFromBF16>
void PackGroupQ8(const std::byte* const* rows, size_t k, std::byte* scales, std::byte* out,
                 __m256i& bad) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 absmax[kGroup];
  for (size_t r = 0; r < kGroup; ++r) {
    absmax[r] = _mm256_setzero_ps();
    for (size_t part = 0; part < 4; ++part) {
      const __m256 weights = LoadFloats<kFromBF16>(rows[r], k + part * 8);
      bad = _mm256_or_si256(bad, NonFinite(weights));
      absmax[r] = _mm256_max_ps(absmax[r], _mm256_and_ps(weights, magnitude));
    }
  }
  alignas(32) float inverse[kGroup];
  _mm256_store_ps(inverse,
                  StoreScales(_mm256_div_ps(MaxOfEach(absmax), _mm256_set1_ps(127.0f)), scales));
  __m256i v[kGroup];
  for (size_t r = 0; r < kGroup; ++r) {
    v[r] = QuadruplesOf<kFromBF16>(rows[r], k, _mm256_broadcast_ss(&inverse[r]), -127.0f, 127.0f);
  }
  StoreHalfLines(v, out);
}

template <bool kFromBF16>
void PackGroupQ4(const std::byte* const* rows, size_t k, std::byte* scales, std::byte* out,
                 __m256i& bad) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 high[kGroup];
  __m256 low[kGroup];  // negated
  for (size_t r = 0; r < kGroup; ++r) {
    high[r] = low[r] = _mm256_setzero_ps();
    for (size_t part = 0; part < 4; ++part) {
      const __m256 weights = LoadFloats<kFromBF16>(rows[r], k + part * 8);
      bad = _mm256_or_si256(bad, NonFinite(weights));
      high[r] = _mm256_max_ps(weights, high[r]);  // of two zeros the second: +0 stays
      low[r] = _mm256_max_ps(_mm256_xor_ps(weights, sign), low[r]);
    }
  }
  const __m256 most = MaxOfEach(high);
  const __m256 least = MaxOfEach(low);
  const __m256 extreme =
      _mm256_blendv_ps(_mm256_xor_ps(least, sign), most, _mm256_cmp_ps(most, least, _CMP_GE_OQ));
  alignas(32) float inverse[kGroup];
  _mm256_store_ps(inverse, StoreScales(_mm256_div_ps(extreme, _mm256_set1_ps(-8.0f)), scales));
  __m256i v[kGroup];
  for (size_t r = 0; r < kGroup; ++r) {
    const __m256i bytes =
        QuadruplesOf<kFromBF16>(rows[r], k, _mm256_broadcast_ss(&inverse[r]), -8.0f, 7.0f);
    v[r] = _mm256_add_epi8(bytes, _mm256_set1_epi8(8));
  }
  Transpose8x8(v);
  for (size_t u = 0; u < 4; ++u) {
    // Values are below 16, so a shift of 16-bit lanes moves nothing across bytes.
    StoreBytes(out + u * kLineBytes, _mm256_or_si256(v[u], _mm256_slli_epi16(v[u + 4], 4)));
  }
}

template <bool kFromBF16, WeightType kType>
void PackBlock(const PanelSource& source, size_t k, std::byte* block, __m256i& bad) {
  for (size_t first = 0; first < kPanelOutputs; first += kGroup) {
    const std::byte* const* rows = source.rows.data() + first;
    std::byte* out = block + TileOffset(kType, first / kTileOutputs) + first % kTileOutputs * 4;
    for (size_t r = 0; r < kGroup; ++r) {
      _mm_prefetch(rows[r] + k * (kFromBF16 ? 2 : 4) + kPrefetchAheadBytes, _MM_HINT_T0);
    }
    if constexpr (kType == WeightType::kF32) PackGroupF32<kFromBF16>(rows, k, out, bad);
    if constexpr (kType == WeightType::kBF16) PackGroupBF16<kFromBF16>(rows, k, out, bad);
    if constexpr (kType == WeightType::kQ8)
      PackGroupQ8<kFromBF16>(rows, k, block + first * 2, out, bad);
    if constexpr (kType == WeightType::kQ4)
      PackGroupQ4<kFromBF16>(rows, k, block + first * 2, out, bad);
  }
}

template <bool kFromBF16, WeightType kType>
bool PackPanel(const PanelSource& source, std::byte* panel) {
  __m256i bad = _mm256_setzero_si256();
  const size_t whole = source.inputs / kBlockInputs * kBlockInputs;
  for (size_t k = 0; k < whole; k += kBlockInputs) {
    PackBlock<kFromBF16, kType>(source, k, panel, bad);
    panel += BlockBytes(kType);
  }
  if (const size_t rest = source.inputs - whole; rest != 0) {
    constexpr size_t kSize = kFromBF16 ? 2 : 4;
    alignas(32) std::byte tail[kPanelOutputs][kBlockInputs * 4] = {};
    PanelSource padded;
    for (size_t n = 0; n < kPanelOutputs; ++n) {
      std::memcpy(tail[n], source.rows[n] + whole * kSize, rest * kSize);
      padded.rows[n] = tail[n];
    }
    PackBlock<kFromBF16, kType>(padded, 0, panel, bad);
  }
  return _mm256_testz_si256(bad, bad) != 0;
}

template <bool kFromBF16>
bool PackPanelFrom(const PanelSource& source, WeightType type, std::byte* panel) {
  switch (type) {
    case WeightType::kF32:
      return PackPanel<kFromBF16, WeightType::kF32>(source, panel);
    case WeightType::kBF16:
      return PackPanel<kFromBF16, WeightType::kBF16>(source, panel);
    case WeightType::kQ8:
      return PackPanel<kFromBF16, WeightType::kQ8>(source, panel);
    case WeightType::kQ4:
      return PackPanel<kFromBF16, WeightType::kQ4>(source, panel);
  }
  return false;
}

}  // namespace

bool PackPanelAvx2(const PanelSource& source, WeightType type, std::byte* panel) {
  return source.is_bf16 ? PackPanelFrom<true>(source, type, panel)
                        : PackPanelFrom<false>(source, type, panel);
}

}  // namespace tessera::kernels
