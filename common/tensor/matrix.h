#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "common/tensor/matrix_view.h"

namespace tessera {

// Owns rows x cols floats, zeroed, contiguous. Thread-compatible.
class Matrix {
 public:
  Matrix() = default;
  Matrix(size_t rows, size_t cols) : rows_(rows), cols_(cols), values_(rows * cols) {}

  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  MatrixView view() { return {values_.data(), rows_, cols_}; }
  ConstMatrixView view() const { return {values_.data(), rows_, cols_}; }
  std::span<float> row(size_t i) { return view().row(i); }
  std::span<const float> row(size_t i) const { return view().row(i); }
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  void Fill(float value) { std::fill(values_.begin(), values_.end(), value); }

 private:
  size_t rows_ = 0;
  size_t cols_ = 0;
  std::vector<float> values_;
};

}  // namespace tessera
