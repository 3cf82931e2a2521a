#pragma once

// The shapes of a thread's tiles. Internal to the AMX files; functions sit in an unnamed namespace.

#include <cstddef>
#include <cstdint>

#include "common/kernels/tile_instructions_amx.h"

namespace tessera::kernels::amx {
namespace {

// Shapes of the eight tiles, as ldtilecfg reads them.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t line_bytes[16] = {};
  uint8_t lines[16] = {};

  void Set(size_t tile, size_t line_count, size_t bytes) {
    lines[tile] = static_cast<uint8_t>(line_count);
    line_bytes[tile] = static_cast<uint16_t>(bytes);
  }
  void SetThree(size_t a, size_t b, size_t c, size_t line_count, size_t bytes) {
    Set(a, line_count, bytes);
    Set(b, line_count, bytes);
    Set(c, line_count, bytes);
  }
};
static_assert(sizeof(TileShapes) == 64);

// Gives this thread's tiles those shapes. Asking for the present ones costs a tenth of setting
// them, and nobody has to remember what a thread had last.
[[maybe_unused]] inline void UseTileShapes(const TileShapes& shapes) {
  TileShapes present;
  TESSERA_TILE_SHAPES_STORE(present);
  if (__builtin_memcmp(&present, &shapes, sizeof(shapes)) == 0) return;
  TESSERA_TILE_SHAPES_LOAD(shapes);
}

}  // namespace
}  // namespace tessera::kernels::amx
