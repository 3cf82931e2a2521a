#pragma once

#include <cstddef>

namespace tessera::bench {

inline constexpr size_t kFlopsPerFmaRound = 12 * 8 * 2;

// `rounds` rounds of twelve independent fused multiply-adds of eight floats (AVX2): the arithmetic
// a core can do when nothing waits. Returns a number that depends on all of them.
float SpinFmas(size_t rounds);

}  // namespace tessera::bench
