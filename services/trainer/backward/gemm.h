#pragma once

// Products of small and middling matrices: the floor everything in this room stands on.
//
//   C [m, n]  =  A [m, k] * B [k, n]      or  C += A * B
//
// float runs on AVX-512, twelve rows by thirty-two columns at a time, or where that is missing on
// AVX2 and FMA, six by sixteen; double is a plain loop, for the gradient check. The order in which
// a number's products are added depends on k alone, so the result depends neither on threads nor on
// which of the two runs. Free functions of borrowed memory: thread-safe.

#include <cstddef>

namespace tessera::trainer {

inline constexpr size_t kPanelCols = 16;

// Element (i, j) is data[i * row_stride + j * col_stride]; one of the strides is 1.
template <typename T>
struct GemmLeft {
  const T* data;
  size_t row_stride;
  size_t col_stride;
};
template <typename T>
GemmLeft<T> Rows(const T* data, size_t stride) {  // a matrix as it lies, row by row
  return {data, stride, 1};
}
template <typename T>
GemmLeft<T> Transposed(const T* data, size_t stride) {  // the transpose of one that lies so
  return {data, 1, stride};
}

// Element (i, j) is data[(j / 16) * panel_stride + i * row_stride + j % 16].
template <typename T>
struct GemmRight {
  const T* data;
  size_t row_stride;
  size_t panel_stride;
};
template <typename T>
GemmRight<T> RightRows(const T* data, size_t stride) {
  return {data, stride, kPanelCols};
}
// Panels as the two functions below make them.
template <typename T>
GemmRight<T> Panels(const T* data, size_t rows) {
  return {data, kPanelCols, rows * kPanelCols};
}

// Numbers in the panels of a right side of that shape: the columns are filled up to whole panels.
inline size_t PanelSize(size_t rows, size_t cols) {
  return (cols + kPanelCols - 1) / kPanelCols * kPanelCols * rows;
}
// Panels of B = X [rows, cols], and of B = X^T for X [cols, rows]; missing columns become 0.
template <typename T>
void PackPanels(const T* x, size_t stride, size_t rows, size_t cols, T* panels);
template <typename T>
void PackPanelsTransposed(const T* x, size_t stride, size_t rows, size_t cols, T* panels);

enum class GemmMode { kSet, kAdd };

// c_stride: numbers from one row of C to the next.
template <typename T>
void Gemm(size_t m, size_t n, size_t k, GemmLeft<T> a, GemmRight<T> b, T* c, size_t c_stride,
          GemmMode mode);

// C [n, n] = A [n, k] * B [k, n] of which it is known that C is symmetric (a Gram matrix, or a
// product of symmetric matrices that commute): a little over half is computed. C's rows lie n
// apart.
void SymmetricGemm(size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c);

// False: this CPU lacks AVX2 or FMA, and the float functions of this room must not be called.
bool CpuCanTrain();

}  // namespace tessera::trainer
