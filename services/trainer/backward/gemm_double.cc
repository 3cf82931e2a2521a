#include "services/trainer/backward/gemm.h"

namespace tessera::trainer {

template <>
void PackPanels<double>(const double* x, size_t stride, size_t rows, size_t cols, double* panels) {
  for (size_t first = 0; first < cols; first += kPanelCols) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t j = 0; j < kPanelCols; ++j) {
        *panels++ = first + j < cols ? x[r * stride + first + j] : 0.0;
      }
    }
  }
}

template <>
void PackPanelsTransposed<double>(const double* x, size_t stride, size_t rows, size_t cols,
                                  double* panels) {
  for (size_t first = 0; first < cols; first += kPanelCols) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t j = 0; j < kPanelCols; ++j) {
        *panels++ = first + j < cols ? x[(first + j) * stride + r] : 0.0;
      }
    }
  }
}

template <>
void Gemm<double>(size_t m, size_t n, size_t k, GemmLeft<double> a, GemmRight<double> b, double* c,
                  size_t c_stride, GemmMode mode) {
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) {
      const double* column = b.data + j / kPanelCols * b.panel_stride + j % kPanelCols;
      double sum = mode == GemmMode::kAdd ? c[i * c_stride + j] : 0.0;
      for (size_t l = 0; l < k; ++l) {
        sum += a.data[i * a.row_stride + l * a.col_stride] * column[l * b.row_stride];
      }
      c[i * c_stride + j] = sum;
    }
  }
}

}  // namespace tessera::trainer
