#include <immintrin.h>

#include <algorithm>

#include "services/trainer/backward/gemm.h"
#include "services/trainer/backward/gemm_levels.h"
#include "services/trainer/backward/gemm_loops.h"

namespace tessera::trainer {
namespace {

__m256i MaskOf(size_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}

// C of R rows and one panel. kWhole: the panel has all sixteen columns.
template <size_t R, bool kWhole>
void Tile(const TileArgs& t) {
  const __m256i low = MaskOf(std::min<size_t>(t.cols, 8));
  const __m256i high = MaskOf(t.cols > 8 ? t.cols - 8 : 0);
  __m256 sum[R][2];
#pragma GCC unroll 6
  for (size_t r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
  const float* a = t.a;
  const float* b = t.b;
  for (size_t l = 0; l < t.k; ++l, a += t.a_col, b += t.b_row) {
    const __m256 b0 = kWhole ? _mm256_loadu_ps(b) : _mm256_maskload_ps(b, low);
    const __m256 b1 = kWhole ? _mm256_loadu_ps(b + 8) : _mm256_maskload_ps(b + 8, high);
#pragma GCC unroll 6
    for (size_t r = 0; r < R; ++r) {
      const __m256 value = _mm256_broadcast_ss(a + r * t.a_row);
      sum[r][0] = _mm256_fmadd_ps(value, b0, sum[r][0]);
      sum[r][1] = _mm256_fmadd_ps(value, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < R; ++r) {
    float* c = t.c + r * t.c_stride;
    if (kWhole) {
      if (t.add) {
        sum[r][0] = _mm256_add_ps(sum[r][0], _mm256_loadu_ps(c));
        sum[r][1] = _mm256_add_ps(sum[r][1], _mm256_loadu_ps(c + 8));
      }
      _mm256_storeu_ps(c, sum[r][0]);
      _mm256_storeu_ps(c + 8, sum[r][1]);
    } else {
      if (t.add) {
        sum[r][0] = _mm256_add_ps(sum[r][0], _mm256_maskload_ps(c, low));
        sum[r][1] = _mm256_add_ps(sum[r][1], _mm256_maskload_ps(c + 8, high));
      }
      _mm256_maskstore_ps(c, low, sum[r][0]);
      _mm256_maskstore_ps(c + 8, high, sum[r][1]);
    }
  }
}

template <bool kWhole>
void TileOf(size_t rows, const TileArgs& t) {
  switch (rows) {
    case 1:
      return Tile<1, kWhole>(t);
    case 2:
      return Tile<2, kWhole>(t);
    case 3:
      return Tile<3, kWhole>(t);
    case 4:
      return Tile<4, kWhole>(t);
    case 5:
      return Tile<5, kWhole>(t);
    default:
      return Tile<6, kWhole>(t);
  }
}

template <size_t R>
void Rows16(const float* a, const float* b, float* c) {
  __m256 sum[R][2];
#pragma GCC unroll 6
  for (size_t r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
#pragma GCC unroll 4
  for (size_t l = 0; l < 16; ++l) {
    const __m256 b0 = _mm256_loadu_ps(b + l * 16), b1 = _mm256_loadu_ps(b + l * 16 + 8);
#pragma GCC unroll 6
    for (size_t r = 0; r < R; ++r) {
      const __m256 value = _mm256_broadcast_ss(a + r * 16 + l);
      sum[r][0] = _mm256_fmadd_ps(value, b0, sum[r][0]);
      sum[r][1] = _mm256_fmadd_ps(value, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < R; ++r) {
    _mm256_storeu_ps(c + r * 16, sum[r][0]);
    _mm256_storeu_ps(c + r * 16 + 8, sum[r][1]);
  }
}

// Six rows of two registers are twelve sums; with two of B and one of A they fill the sixteen there
// are. 6 FMA pairs take six cycles, their eight loads four.
struct Avx2Tiles {
  static constexpr size_t kTileRows = 6;
  static constexpr size_t kTilePanels = 1;
  static constexpr size_t kCopied = 8;
  static void Copy(size_t count, const float* from, float* to) {
    if (count == kCopied) return _mm256_storeu_ps(to, _mm256_loadu_ps(from));
    for (size_t i = 0; i < std::min(count, kTileRows); ++i) to[i] = from[i];
  }
  static void Multiply(size_t rows, const TileArgs& t) {
    t.cols == kPanelCols ? TileOf<true>(rows, t) : TileOf<false>(rows, t);
  }
  static void Square16(const float* a, const float* b, float* c) {
    Rows16<6>(a, b, c);
    Rows16<6>(a + 6 * 16, b, c + 6 * 16);
    Rows16<4>(a + 12 * 16, b, c + 12 * 16);
  }
};

}  // namespace

void GemmAvx2(size_t m, size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c,
              size_t c_stride, GemmMode mode) {
  GemmLoops<Avx2Tiles>::Multiply(m, n, k, a, b, c, c_stride, mode);
}

void SymmetricGemmAvx2(size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c) {
  GemmLoops<Avx2Tiles>::MultiplySymmetric(n, k, a, b, c);
}

}  // namespace tessera::trainer
