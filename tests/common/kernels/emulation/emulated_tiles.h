#pragma once

// AMX tiles in plain C++, eight a thread, as Intel's manual describes them (palette 1). What would
// raise #UD or #GP, and a tile used without a shape, stops the process. A thread begins without
// shapes; loading shapes clears all tiles, and a load or a product clears the lines past the
// tile's.
//
//   tdpbf16ps  for each row and output: the products of the even elements and those of the odd ones
//              are summed apart, k ascending, by fused multiply-adds from 0; both sums are added,
//              and their sum is added to the tile; each to nearest even, subnormals flushed as by
//              vdpbf16ps.
//   tdpbssd    exact, wraps.

#include <cstddef>

namespace tessera::emulated {

void TileShapesLoad(const void* shapes);  // 64 bytes
void TileShapesStore(void* shapes);
void TilesRelease();
void TileZero(size_t tile);
void TileLoad(size_t tile, const void* base, size_t stride);
void TileStore(size_t tile, void* base, size_t stride);
void TileDotBf16(size_t sum, size_t a, size_t b);
void TileDotInt8(size_t sum, size_t a, size_t b);

// For tests: threads whose tiles have shapes now, and how often a thread without got some.
size_t ThreadsWithTiles();
size_t TileAcquisitions();

}  // namespace tessera::emulated
