#include <immintrin.h>

#include <algorithm>

#include "services/trainer/backward/gemm.h"
#include "services/trainer/backward/gemm_levels.h"

namespace tessera::trainer {
namespace {

// out: 8 rows
void Transpose8(const float* x, size_t stride, float* out, size_t out_stride = kPanelCols) {
  __m256 r[8];
  for (size_t i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(x + i * stride);
  __m256 t[8];
  for (size_t i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (size_t i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (size_t i = 0; i < 4; ++i) {
    _mm256_storeu_ps(out + i * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

}  // namespace

template <>
void PackPanels<float>(const float* x, size_t stride, size_t rows, size_t cols, float* panels) {
  for (size_t first = 0; first < cols; first += kPanelCols) {
    const size_t count = std::min(kPanelCols, cols - first);
    for (size_t r = 0; r < rows; ++r, panels += kPanelCols) {
      const float* from = x + r * stride + first;
      if (count == kPanelCols) {
        _mm256_storeu_ps(panels, _mm256_loadu_ps(from));
        _mm256_storeu_ps(panels + 8, _mm256_loadu_ps(from + 8));
      } else {
        for (size_t j = 0; j < kPanelCols; ++j) panels[j] = j < count ? from[j] : 0.0f;
      }
    }
  }
}

template <>
void PackPanelsTransposed<float>(const float* x, size_t stride, size_t rows, size_t cols,
                                 float* panels) {
  for (size_t first = 0; first < cols; first += kPanelCols, panels += rows * kPanelCols) {
    size_t r = 0;
    if (first + kPanelCols <= cols) {
      for (; r + 8 <= rows; r += 8) {
        Transpose8(x + first * stride + r, stride, panels + r * kPanelCols);
        Transpose8(x + (first + 8) * stride + r, stride, panels + r * kPanelCols + 8);
      }
    }
    for (; r < rows; ++r) {
      for (size_t j = 0; j < kPanelCols; ++j) {
        panels[r * kPanelCols + j] = first + j < cols ? x[(first + j) * stride + r] : 0.0f;
      }
    }
  }
}

void MirrorUpper(size_t n, float* c) {
  for (size_t i = 0; i < n; i += 8) {
    for (size_t j = 0; j <= i; j += 8) {
      if (i + 8 <= n) {
        if (j < i) Transpose8(c + j * n + i, n, c + i * n + j, n);
        continue;
      }
      for (size_t r = i; r < n; ++r) {
        for (size_t s = j; s < std::min(j + 8, r); ++s) c[r * n + s] = c[s * n + r];
      }
    }
  }
}

}  // namespace tessera::trainer
