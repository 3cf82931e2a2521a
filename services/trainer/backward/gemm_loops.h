#pragma once

// The blocks around the tiles of a product, for one kind of tiles. A source file of one instruction
// set says what its tiles are:
//
//   struct Tiles {
//     static constexpr size_t kTileRows;    // of C at once; divides kBlockRows
//     static constexpr size_t kTilePanels;  // of B at once; divides kBlockCols / kPanelCols
//     static constexpr size_t kCopied;      // numbers of a Copy at most; kTileRows at least
//     static void Copy(size_t count, const float* from, float* to);  // may write all kCopied
//     static void Multiply(size_t rows, const TileArgs& t);  // rows <= kTileRows
//     static void Square16(const float* a, const float* b, float* c);  // C = A B, all 16 x 16
//   };
//
// Internal to this room.

#include <algorithm>
#include <cstddef>

#include "services/trainer/backward/gemm.h"
#include "services/trainer/backward/gemm_levels.h"

namespace tessera::trainer {
namespace {

// What is kept near: 96 rows of A, 256 of the inner dimension, 128 columns of B. The inner one is
// part of what a product means: after so many a sum goes to C.
inline constexpr size_t kBlockRows = 96;
inline constexpr size_t kBlockInner = 256;
inline constexpr size_t kBlockCols = 128;

struct TileArgs {
  const float* a;
  size_t a_row;
  size_t a_col;
  const float* b;
  size_t b_row;
  size_t b_panel;  // from one panel to the next
  size_t k;
  float* c;
  size_t c_stride;
  bool add;
  size_t cols;  // of these panels; not a multiple of 16 only in the last one
};

template <class Tiles>
struct GemmLoops {
  static constexpr size_t kTileRows = Tiles::kTileRows;
  static constexpr size_t kTileCols = Tiles::kTilePanels * kPanelCols;

  // A block of C: all its operands are near. a_tile_stride: from one tile of A to the next.
  static void Block(size_t m, size_t n, TileArgs t, size_t a_tile_stride) {
    const float* const a = t.a;
    float* const c = t.c;
    for (size_t j = 0; j < n; j += kTileCols, t.b += Tiles::kTilePanels * t.b_panel) {
      t.cols = std::min(kTileCols, n - j);
      for (size_t i = 0; i < m; i += kTileRows) {
        t.a = a + i / kTileRows * a_tile_stride;
        t.c = c + i * t.c_stride + j;
        Tiles::Multiply(std::min(kTileRows, m - i), t);
      }
    }
  }

  // Tiles of kTileRows rows, each [k, kTileRows], from an A whose rows run through memory with a
  // stride: otherwise every number of a tile would touch its own cache line, and lines of equal
  // stride share few sets.
  static void PackTiles(const float* a, size_t a_col, size_t m, size_t k, float* tiles) {
    for (size_t i = 0; i < m; i += kTileRows) {
      // Some numbers more at once: they are overwritten by those that follow.
      const size_t count = std::min(Tiles::kCopied, m - i);
      for (size_t l = 0; l < k; ++l, tiles += kTileRows) {
        Tiles::Copy(count, a + l * a_col + i, tiles);
      }
    }
  }

  struct Extent {
    size_t m, n, k;
  };

  // All rows of A against one block of B, its rows [k] and columns [n].
  static void Sweep(const Extent& extent, const GemmLeft<float>& a, const GemmRight<float>& b,
                    float* c, size_t c_stride, bool add) {
    alignas(64) float tiles[kBlockRows * kBlockInner + Tiles::kCopied - kTileRows];
    const bool pack = a.row_stride == 1 && extent.k > 32 && extent.n > 2 * kPanelCols;
    for (size_t i = 0; i < extent.m; i += kBlockRows) {
      const size_t rows = std::min(kBlockRows, extent.m - i);
      TileArgs t = {.a = a.data + i * a.row_stride,
                    .a_row = a.row_stride,
                    .a_col = a.col_stride,
                    .b = b.data,
                    .b_row = b.row_stride,
                    .b_panel = b.panel_stride,
                    .k = extent.k,
                    .c = c + i * c_stride,
                    .c_stride = c_stride,
                    .add = add,
                    .cols = 0};
      size_t tile_stride = kTileRows * a.row_stride;
      if (pack) {
        PackTiles(t.a, a.col_stride, rows, extent.k, tiles);
        t.a = tiles;
        t.a_row = 1;
        t.a_col = kTileRows;
        tile_stride = kTileRows * extent.k;
      }
      Block(rows, extent.n, t, tile_stride);
    }
  }

  // Gemm<float>.
  static void Multiply(size_t m, size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b,
                       float* c, size_t c_stride, GemmMode mode) {
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
          right = Panels<float>(panels, inner);
        }
        Sweep({m, cols, inner}, {a.data + l * a.col_stride, a.row_stride, a.col_stride}, right,
              c + j, c_stride, mode == GemmMode::kAdd || l > 0);
      }
    }
  }

  static void MultiplySymmetric(size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b,
                                float* c) {
    // With sizes that are constants nothing but products is left.
    if (n == 16 && k == 16 && a.col_stride == 1 && a.row_stride == 16 && b.row_stride == 16) {
      return Tiles::Square16(a.data, b.data, c);
    }
    constexpr size_t kCols = 2 * kPanelCols;
    if (n <= kCols) return Multiply(n, n, k, a, b, c, n, GemmMode::kSet);
    for (size_t j = 0; j < n; j += kCols) {
      const size_t end = std::min(j + kCols, n);
      const float* panel = b.data + j / kPanelCols * b.panel_stride;
      Multiply(end, end - j, k, a, {panel, b.row_stride, b.panel_stride}, c + j, n, GemmMode::kSet);
    }
    MirrorUpper(n, c);
  }
};

}  // namespace
}  // namespace tessera::trainer
