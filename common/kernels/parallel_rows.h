#pragma once

// When row by row work is worth a parallel region. Internal to this room.

#include <algorithm>
#include <cstddef>

#include "common/kernels/compute.h"

namespace tessera::kernels {

// A parallel region costs about 2 microseconds: 64 Ki elements of the loops here take ten or more.
inline constexpr size_t kParallelElements = size_t{64} << 10;
inline constexpr size_t kPieceElements = size_t{16} << 10;

// Calls body(begin, end) for pieces that cover rows [0, rows): one piece on the caller when there
// are few elements in all, else pieces of about kPieceElements on the pool.
template <typename Body>
void ForRows(const Compute& compute, size_t rows, size_t row_elements, const Body& body) {
  if (rows == 0) return;
  if (rows == 1 || rows * row_elements < kParallelElements) {
    body(size_t{0}, rows);
    return;
  }
  const size_t grain = std::max<size_t>(1, kPieceElements / std::max<size_t>(1, row_elements));
  compute.pool.ParallelFor(rows, grain,
                           [&](size_t begin, size_t end, size_t) { body(begin, end); });
}

}  // namespace tessera::kernels
