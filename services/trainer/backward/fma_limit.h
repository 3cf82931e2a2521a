#pragma once

// What a core could do if nothing ever waited: the measure of how fast training is.

#include <cstddef>

namespace tessera::trainer {

inline constexpr size_t kFlopsPerFmaRound = 12 * 8 * 2;

// `rounds` rounds of twelve independent fused multiply-adds of eight floats. Returns a number that
// depends on all of them. Only on a CPU that can train (CpuCanTrain).
float SpinFmas(size_t rounds);

}  // namespace tessera::trainer
