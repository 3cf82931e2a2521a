#include <immintrin.h>

#include "services/trainer/backward/gemm.h"
#include "services/trainer/backward/gemm_levels.h"
#include "services/trainer/backward/gemm_loops.h"

namespace tessera::trainer {
namespace {

// Columns of the last panel that count.
__mmask16 MaskOf(size_t count) { return static_cast<__mmask16>((1u << count) - 1); }

// C of R rows and P panels. kWhole: the last panel has all sixteen columns.
template <size_t R, size_t P, bool kWhole>
void Tile(const TileArgs& t) {
  const __mmask16 last = MaskOf(t.cols - (P - 1) * kPanelCols);
  const auto whole = [](size_t panel) { return kWhole || panel + 1 < P; };
  const auto load = [&](size_t panel, const float* from) {
    return whole(panel) ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(last, from);
  };
  __m512 sum[R][P];
#pragma GCC unroll 12
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (size_t p = 0; p < P; ++p) sum[r][p] = _mm512_setzero_ps();
  }
  // Of every third row: an address has room for one distance, once or twice, and there are not
  // enough registers for eleven.
  const size_t a_row = t.a_row, a_col = t.a_col, b_row = t.b_row, b_panel = t.b_panel;
  const float *a0 = t.a, *a3 = a0 + 3 * a_row, *a6 = a3 + 3 * a_row, *a9 = a6 + 3 * a_row;
  const auto left = [&](size_t r) {
    const float* start = r < 3 ? a0 : r < 6 ? a3 : r < 9 ? a6 : a9;
    return _mm512_set1_ps(start[r % 3 * a_row]);
  };
  const float* b = t.b;
  for (size_t l = t.k; l > 0; --l, b += b_row) {
    __m512 right[P];
#pragma GCC unroll 2
    for (size_t p = 0; p < P; ++p) right[p] = load(p, b + p * b_panel);
#pragma GCC unroll 12
    for (size_t r = 0; r < R; ++r) {
      const __m512 value = left(r);
#pragma GCC unroll 2
      for (size_t p = 0; p < P; ++p) sum[r][p] = _mm512_fmadd_ps(value, right[p], sum[r][p]);
    }
    a0 += a_col, a3 += a_col, a6 += a_col, a9 += a_col;
    // Else gcc goes back to one address and eleven distances.
    asm("" : "+r"(a0), "+r"(a3), "+r"(a6), "+r"(a9));
  }
  float* c = t.c;
  const size_t c_stride = t.c_stride;
  const bool add = t.add;
#pragma GCC unroll 12
  for (size_t r = 0; r < R; ++r, c += c_stride) {
#pragma GCC unroll 2
    for (size_t p = 0; p < P; ++p) {
      float* to = c + p * kPanelCols;
      if (add) sum[r][p] = _mm512_add_ps(sum[r][p], load(p, to));
      whole(p) ? _mm512_storeu_ps(to, sum[r][p]) : _mm512_mask_storeu_ps(to, last, sum[r][p]);
    }
  }
}

template <size_t R, size_t P>
void TileOfRows(const TileArgs& t) {
  t.cols == P* kPanelCols ? Tile<R, P, true>(t) : Tile<R, P, false>(t);
}
template <size_t P, size_t R = 1>
void TileOf(size_t rows, const TileArgs& t) {
  if constexpr (R < 12) {
    if (rows > R) return TileOf<P, R + 1>(rows, t);
  }
  TileOfRows<R, P>(t);
}

// Twelve rows of two registers are 24 sums, three times what two units with a latency of four
// cycles need; 24 FMAs take twelve cycles, their fourteen loads seven.
struct Avx512Tiles {
  static constexpr size_t kTileRows = 12;
  static constexpr size_t kTilePanels = 2;
  static constexpr size_t kCopied = 16;
  static void Copy(size_t count, const float* from, float* to) {
    _mm512_storeu_ps(to, _mm512_maskz_loadu_ps(MaskOf(count), from));
  }
  static void Multiply(size_t rows, const TileArgs& t) {
    t.cols > kPanelCols ? TileOf<2>(rows, t) : TileOf<1>(rows, t);
  }
  static void Square16(const float* a, const float* b, float* c) {
    __m512 sum[16];
#pragma GCC unroll 16
    for (size_t r = 0; r < 16; ++r) sum[r] = _mm512_setzero_ps();
#pragma GCC unroll 2
    for (size_t l = 0; l < 16; ++l) {
      const __m512 right = _mm512_loadu_ps(b + l * 16);
#pragma GCC unroll 16
      for (size_t r = 0; r < 16; ++r) {
        sum[r] = _mm512_fmadd_ps(_mm512_set1_ps(a[r * 16 + l]), right, sum[r]);
      }
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < 16; ++r) _mm512_storeu_ps(c + r * 16, sum[r]);
  }
};

}  // namespace

void GemmAvx512(size_t m, size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c,
                size_t c_stride, GemmMode mode) {
  GemmLoops<Avx512Tiles>::Multiply(m, n, k, a, b, c, c_stride, mode);
}

void SymmetricGemmAvx512(size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c) {
  GemmLoops<Avx512Tiles>::MultiplySymmetric(n, k, a, b, c);
}

}  // namespace tessera::trainer
