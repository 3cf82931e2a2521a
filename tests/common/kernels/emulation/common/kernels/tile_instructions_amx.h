#pragma once

// Stands in the place of common/kernels/tile_instructions_amx.h: tile instructions as calls.

#include "tests/common/kernels/emulation/emulated_tiles.h"

#define TESSERA_TILE_ZERO(tile) ::tessera::emulated::TileZero(tile)
#define TESSERA_TILE_LOAD(tile, base, stride) ::tessera::emulated::TileLoad(tile, base, stride)
#define TESSERA_TILE_STORE(tile, base, stride) ::tessera::emulated::TileStore(tile, base, stride)
#define TESSERA_TILE_BF16(sum, a, b) ::tessera::emulated::TileDotBf16(sum, a, b)
#define TESSERA_TILE_INT8(sum, a, b) ::tessera::emulated::TileDotInt8(sum, a, b)
#define TESSERA_TILE_SHAPES_LOAD(shapes) ::tessera::emulated::TileShapesLoad(&(shapes))
#define TESSERA_TILE_SHAPES_STORE(shapes) ::tessera::emulated::TileShapesStore(&(shapes))
#define TESSERA_TILES_RELEASE() ::tessera::emulated::TilesRelease()
