#pragma once

// The tile instructions themselves; a test puts another file in the place of this one. Internal to
// the AMX files.
//
// Own wrappers, because those of gcc 12 let the compiler move or drop stores that only a tile load
// reads: each of these says that it touches memory. Tile numbers must be literals.

#define TESSERA_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile ::)
#define TESSERA_TILE_LOAD(tile, base, stride)                                            \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(static_cast<const void*>(base)), \
               "r"(static_cast<long>(stride))                                            \
               : "memory")
#define TESSERA_TILE_STORE(tile, base, stride)                                         \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(static_cast<void*>(base)), \
               "r"(static_cast<long>(stride))                                          \
               : "memory")
// sum += a b: bf16 pairs in float32, or int8 quadruples in int32.
#define TESSERA_TILE_BF16(sum, a, b) \
  asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)
#define TESSERA_TILE_INT8(sum, a, b) asm volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)

// Shapes: 64 bytes as ldtilecfg reads them. Released tiles have no shapes.
#define TESSERA_TILE_SHAPES_LOAD(shapes) asm volatile("ldtilecfg %0" ::"m"(shapes) : "memory")
#define TESSERA_TILE_SHAPES_STORE(shapes) asm volatile("sttilecfg %0" : "=m"(shapes)::"memory")
#define TESSERA_TILES_RELEASE() asm volatile("tilerelease" ::: "memory")
