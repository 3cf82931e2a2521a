#include "tests/common/kernels/emulation/emulated_tiles.h"

#include <atomic>
#include <cstdint>
#include <cstring>

#include "common/base/check.h"
#include "tests/common/kernels/emulation/emulated_products.h"

namespace tessera::emulated {
namespace {

constexpr size_t kTiles = 8;
constexpr size_t kLines = 16;
constexpr size_t kLineBytes = 64;

struct Shapes {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t line_bytes[16];
  uint8_t lines[16];
};
static_assert(sizeof(Shapes) == 64);

using Line = std::array<uint32_t, kLineBytes / 4>;
using Tile = std::array<Line, kLines>;

// The state of a CPU's registers, which no constructor can pass on.
thread_local Shapes shapes = {};
thread_local Tile tiles[kTiles] = {};
std::atomic<size_t> threads_with_tiles = 0;
std::atomic<size_t> acquisitions = 0;

bool HasShapes() { return shapes.palette != 0; }

// #UD without shapes or for a tile that has none.
Tile& TileAt(size_t tile) {
  TESSERA_CHECK(HasShapes() && tile < kTiles && shapes.lines[tile] > 0);
  return tiles[tile];
}

// #UD unless sum [m, n], a [m, k], b [k, n] fit and are three tiles.
void CheckProduct(size_t sum, size_t a, size_t b) {
  TESSERA_CHECK(sum != a && sum != b && a != b);
  for (const size_t tile : {sum, a, b}) TESSERA_CHECK(shapes.line_bytes[tile] % 4 == 0);
  TESSERA_CHECK(shapes.lines[sum] == shapes.lines[a]);
  TESSERA_CHECK(shapes.line_bytes[sum] == shapes.line_bytes[b]);
  TESSERA_CHECK(shapes.line_bytes[a] / 4 == shapes.lines[b]);
}

void ClearPastShape(size_t tile) {
  for (size_t line = 0; line < kLines; ++line) {
    const size_t used = line < shapes.lines[tile] ? shapes.line_bytes[tile] / 4 : 0;
    for (size_t i = used; i < kLineBytes / 4; ++i) tiles[tile][line][i] = 0;
  }
}

}  // namespace

void TileShapesLoad(const void* from) {
  Shapes wanted;
  std::memcpy(&wanted, from, sizeof(wanted));
  TESSERA_CHECK(wanted.palette == 1 && wanted.start_row == 0);
  for (const uint8_t byte : wanted.reserved) TESSERA_CHECK(byte == 0);
  for (size_t tile = 0; tile < 16; ++tile) {
    TESSERA_CHECK(wanted.line_bytes[tile] <= kLineBytes && wanted.lines[tile] <= kLines);
    TESSERA_CHECK((wanted.line_bytes[tile] == 0) == (wanted.lines[tile] == 0));
    TESSERA_CHECK(tile < kTiles || wanted.lines[tile] == 0);
  }
  if (!HasShapes()) {
    ++threads_with_tiles;
    ++acquisitions;
  }
  shapes = wanted;
  for (Tile& tile : tiles) tile = {};
}

void TileShapesStore(void* to) { std::memcpy(to, &shapes, sizeof(shapes)); }

void TilesRelease() {
  if (HasShapes()) --threads_with_tiles;
  shapes = {};
  for (Tile& tile : tiles) tile = {};
}

void TileZero(size_t tile) { TileAt(tile) = {}; }

void TileLoad(size_t tile, const void* base, size_t stride) {
  Tile& to = TileAt(tile);
  for (size_t line = 0; line < shapes.lines[tile]; ++line) {
    std::memcpy(to[line].data(), static_cast<const std::byte*>(base) + line * stride,
                shapes.line_bytes[tile]);
  }
  ClearPastShape(tile);
}

void TileStore(size_t tile, void* base, size_t stride) {
  const Tile& from = TileAt(tile);
  for (size_t line = 0; line < shapes.lines[tile]; ++line) {
    std::memcpy(static_cast<std::byte*>(base) + line * stride, from[line].data(),
                shapes.line_bytes[tile]);
  }
}

void TileDotBf16(size_t sum, size_t a, size_t b) {
  Tile& c = TileAt(sum);
  const Tile& left = TileAt(a);
  const Tile& right = TileAt(b);
  CheckProduct(sum, a, b);
  for (size_t m = 0; m < shapes.lines[sum]; ++m) {
    for (size_t n = 0; n < shapes.line_bytes[sum] / size_t{4}; ++n) {
      float parts[2] = {0.0f, 0.0f};
      for (size_t k = 0; k < shapes.lines[b]; ++k) {
        for (int i = 0; i < 2; ++i) {
          parts[i] = FlushedFma(Bf16Of(left[m][k], i), Bf16Of(right[k][n], i), parts[i]);
        }
      }
      const float both = FlushedAdd(parts[0], parts[1]);
      c[m][n] = std::bit_cast<uint32_t>(FlushedAdd(std::bit_cast<float>(c[m][n]), both));
    }
  }
  ClearPastShape(sum);
}

void TileDotInt8(size_t sum, size_t a, size_t b) {
  Tile& c = TileAt(sum);
  const Tile& left = TileAt(a);
  const Tile& right = TileAt(b);
  CheckProduct(sum, a, b);
  for (size_t m = 0; m < shapes.lines[sum]; ++m) {
    for (size_t n = 0; n < shapes.line_bytes[sum] / size_t{4}; ++n) {
      for (size_t k = 0; k < shapes.lines[b]; ++k) {
        c[m][n] = DotBytes<int8_t, int8_t>(c[m][n], left[m][k], right[k][n]);
      }
    }
  }
  ClearPastShape(sum);
}

size_t ThreadsWithTiles() { return threads_with_tiles; }
size_t TileAcquisitions() { return acquisitions; }

}  // namespace tessera::emulated
