#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "services/trainer/backward/gemm.h"

namespace tessera::trainer {
namespace {

// Six rows of two registers are twelve sums; with two of B and one of A they fill the sixteen there
// are. 6 FMA pairs take six cycles, their eight loads four.
constexpr size_t kTileRows = 6;
// What is kept near: 96 rows of A, 256 of the inner dimension, 128 columns of B.
constexpr size_t kBlockRows = 96;
constexpr size_t kBlockInner = 256;
constexpr size_t kBlockCols = 128;

__m256i MaskOf(size_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}

struct TileArgs {
  const float* a;
  size_t a_row;
  size_t a_col;
  const float* b;
  size_t b_row;
  size_t k;
  float* c;
  size_t c_stride;
  bool add;
  size_t cols;  // of this panel; under 16 only in the last one
};

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

// A block of C: all its operands are near. a_tile_stride: from one tile of A to the next.
void Block(size_t m, size_t n, TileArgs t, size_t a_tile_stride, size_t b_panel_stride) {
  const float* const a = t.a;
  float* const c = t.c;
  for (size_t j = 0; j < n; j += kPanelCols, t.b += b_panel_stride) {
    t.cols = std::min(kPanelCols, n - j);
    for (size_t i = 0; i < m; i += kTileRows) {
      t.a = a + i / kTileRows * a_tile_stride;
      t.c = c + i * t.c_stride + j;
      const size_t rows = std::min(kTileRows, m - i);
      t.cols == kPanelCols ? TileOf<true>(rows, t) : TileOf<false>(rows, t);
    }
  }
}

// Tiles of six rows, each [k, 6], from an A whose rows run through memory with a stride: otherwise
// every number of a tile would touch its own cache line, and lines of equal stride share few sets.
void PackTiles(const float* a, size_t a_col, size_t m, size_t k, float* tiles) {
  for (size_t i = 0; i < m; i += kTileRows) {
    const size_t rows = std::min(kTileRows, m - i);
    // Eight numbers at once: the last two are overwritten by those that follow.
    const bool whole = i + 8 <= m;
    for (size_t l = 0; l < k; ++l, tiles += kTileRows) {
      const float* from = a + l * a_col + i;
      if (whole) {
        _mm256_storeu_ps(tiles, _mm256_loadu_ps(from));
      } else {
        for (size_t r = 0; r < rows; ++r) tiles[r] = from[r];
      }
    }
  }
}

struct Extent {
  size_t m, n, k;
};

// All rows of A against one block of B, its rows [k] and columns [n].
void Sweep(const Extent& extent, const GemmLeft<float>& a, const GemmRight<float>& b, float* c,
           size_t c_stride, bool add) {
  alignas(64) float tiles[kBlockRows * kBlockInner + 2];
  const bool pack = a.row_stride == 1 && extent.k > 32 && extent.n > 2 * kPanelCols;
  for (size_t i = 0; i < extent.m; i += kBlockRows) {
    const size_t rows = std::min(kBlockRows, extent.m - i);
    TileArgs t = {
        a.data + i * a.row_stride, a.row_stride, a.col_stride, b.data,    b.row_stride, extent.k,
        c + i * c_stride,          c_stride,     add,          kPanelCols};
    size_t tile_stride = kTileRows * a.row_stride;
    if (pack) {
      PackTiles(t.a, a.col_stride, rows, extent.k, tiles);
      t.a = tiles;
      t.a_row = 1;
      t.a_col = kTileRows;
      tile_stride = kTileRows * extent.k;
    }
    Block(rows, extent.n, t, tile_stride, b.panel_stride);
  }
}

// out: 8 rows
void Transpose8(const float* x, size_t stride, float* out, size_t out_stride = kPanelCols) {
  __m256 r[8];
  for (size_t i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(x + i * stride);
  __m256 t[8];
  for (size_t i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (size_t i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (size_t i = 0; i < 4; ++i) {
    _mm256_storeu_ps(out + i * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

// Rows of C = A B of 16 x 16 matrices: with sizes that are constants nothing but products is left.
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

// What lies below the diagonal from what lies above it, in squares of eight where they are whole.
void Mirror(size_t n, float* c) {
  for (size_t i = 0; i < n; i += 8) {
    for (size_t j = 0; j <= i; j += 8) {
      if (i + 8 <= n) {
        if (j < i) Transpose8(c + j * n + i, n, c + i * n + j, n);
        continue;
      }
      for (size_t r = i; r < n; ++r) {
        for (size_t s = j; s < std::min(j + 8, r); ++s) c[r * n + s] = c[s * n + r];
      }
    }
  }
}

}  // namespace

template <>
void PackPanels<float>(const float* x, size_t stride, size_t rows, size_t cols, float* panels) {
  for (size_t first = 0; first < cols; first += kPanelCols) {
    const size_t count = std::min(kPanelCols, cols - first);
    for (size_t r = 0; r < rows; ++r, panels += kPanelCols) {
      const float* from = x + r * stride + first;
      if (count == kPanelCols) {
        _mm256_storeu_ps(panels, _mm256_loadu_ps(from));
        _mm256_storeu_ps(panels + 8, _mm256_loadu_ps(from + 8));
      } else {
        for (size_t j = 0; j < kPanelCols; ++j) panels[j] = j < count ? from[j] : 0.0f;
      }
    }
  }
}

template <>
void PackPanelsTransposed<float>(const float* x, size_t stride, size_t rows, size_t cols,
                                 float* panels) {
  for (size_t first = 0; first < cols; first += kPanelCols, panels += rows * kPanelCols) {
    size_t r = 0;
    if (first + kPanelCols <= cols) {
      for (; r + 8 <= rows; r += 8) {
        Transpose8(x + first * stride + r, stride, panels + r * kPanelCols);
        Transpose8(x + (first + 8) * stride + r, stride, panels + r * kPanelCols + 8);
      }
    }
    for (; r < rows; ++r) {
      for (size_t j = 0; j < kPanelCols; ++j) {
        panels[r * kPanelCols + j] = first + j < cols ? x[(first + j) * stride + r] : 0.0f;
      }
    }
  }
}

template <>
void Gemm<float>(size_t m, size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c,
                 size_t c_stride, GemmMode mode) {
  if (m == 0 || n == 0) return;
  const bool in_panels = b.panel_stride != kPanelCols || b.row_stride == kPanelCols;
  const bool pack = !in_panels && k > 48 && m > 2 * kTileRows;
  if (!pack && k <= kBlockInner) {
    return Sweep({m, n, k}, a, b, c, c_stride, mode == GemmMode::kAdd);
  }
  alignas(64) float panels[kBlockCols * kBlockInner];
  for (size_t j = 0; j < n; j += kBlockCols) {
    const size_t cols = std::min(kBlockCols, n - j);
    for (size_t l = 0; l < k; l += kBlockInner) {
      const size_t inner = std::min(kBlockInner, k - l);
      GemmRight<float> right = {b.data + j / kPanelCols * b.panel_stride + l * b.row_stride,
                                b.row_stride, b.panel_stride};
      if (pack) {
        PackPanels(right.data, b.row_stride, inner, cols, panels);
        right = Panels(panels, inner);
      }
      Sweep({m, cols, inner}, {a.data + l * a.col_stride, a.row_stride, a.col_stride}, right, c + j,
            c_stride, mode == GemmMode::kAdd || l > 0);
    }
  }
}

void SymmetricGemm(size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c) {
  if (n == 16 && k == 16 && a.col_stride == 1 && a.row_stride == 16 && b.row_stride == 16) {
    Rows16<6>(a.data, b.data, c);
    Rows16<6>(a.data + 6 * 16, b.data, c + 6 * 16);
    return Rows16<4>(a.data + 12 * 16, b.data, c + 12 * 16);
  }
  constexpr size_t kCols = 2 * kPanelCols;
  if (n <= kCols) return Gemm(n, n, k, a, b, c, n, GemmMode::kSet);
  for (size_t j = 0; j < n; j += kCols) {
    const size_t end = std::min(j + kCols, n);
    const float* panel = b.data + j / kPanelCols * b.panel_stride;
    Gemm(end, end - j, k, a, {panel, b.row_stride, b.panel_stride}, c + j, n, GemmMode::kSet);
  }
  Mirror(n, c);
}

}  // namespace tessera::trainer
