#include "common/kernels/attention_span.h"
#include "common/kernels/vector_math_avx2.h"

namespace tessera::kernels {
namespace {

// Eight floats to bf16, to nearest even; NaN stays NaN, as ToBF16 does.
__m128i ToBF16x8(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

uint16_t ToBF16x1(float v) {
  return static_cast<uint16_t>(_mm_extract_epi16(ToBF16x8(_mm256_set1_ps(v)), 0));
}

void StoreBF16(size_t head_dim, const float* k, const float* v, size_t slot, uint16_t* keys,
               uint16_t* values) {
  keys += slot;
  values += slot * head_dim;
  alignas(16) uint16_t rounded[8];
  size_t i = 0;
  for (; i + 8 <= head_dim; i += 8) {
    _mm_store_si128(reinterpret_cast<__m128i*>(rounded), ToBF16x8(_mm256_loadu_ps(k + i)));
    for (size_t j = 0; j < 8; ++j) keys[(i + j) * kKvBlockTokens] = rounded[j];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values + i), ToBF16x8(_mm256_loadu_ps(v + i)));
  }
  for (; i < head_dim; ++i) {
    keys[i * kKvBlockTokens] = ToBF16x1(k[i]);
    values[i] = ToBF16x1(v[i]);
  }
}

}  // namespace

void StoreTokenAvx2(KvType type, size_t head_dim, const float* k, const float* v, size_t slot,
                    std::byte* keys, std::byte* values) {
  if (type == KvType::kBF16) {
    StoreBF16(head_dim, k, v, slot, reinterpret_cast<uint16_t*>(keys),
              reinterpret_cast<uint16_t*>(values));
    return;
  }
  float* const to = reinterpret_cast<float*>(keys) + slot;
  for (size_t i = 0; i < head_dim; ++i) to[i * kKvBlockTokens] = k[i];
  __builtin_memcpy(reinterpret_cast<float*>(values) + slot * head_dim, v, head_dim * sizeof(float));
}

void SigmoidGateAvx2(const float* gate, size_t count, float* x) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 open = Sigmoid(_mm256_loadu_ps(gate + i));
    _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), open));
  }
  if (i == count) return;
  const __m256i mask = LaneMask(count - i);
  const __m256 open = Sigmoid(_mm256_maskload_ps(gate + i, mask));
  _mm256_maskstore_ps(x + i, mask, _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), open));
}

}  // namespace tessera::kernels
