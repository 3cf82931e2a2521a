#pragma once

// A rows x cols window on memory somebody else owns; rows may lie further apart than `cols`.

#include <cstddef>
#include <span>
#include <type_traits>

#include "common/base/check.h"

namespace tessera {

template <typename T>
class BasicMatrixView {
 public:
  BasicMatrixView() = default;
  BasicMatrixView(T* data, size_t rows, size_t cols) : BasicMatrixView(data, rows, cols, cols) {}
  // stride: elements from one row to the next, >= cols.
  BasicMatrixView(T* data, size_t rows, size_t cols, size_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {
    TESSERA_DCHECK(stride >= cols);
  }
  // A writable view reads as a constant one.
  operator BasicMatrixView<const T>() const requires(!std::is_const_v<T>) {
    return {data_, rows_, cols_, stride_};
  }

  T* data() const { return data_; }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  size_t stride() const { return stride_; }
  bool empty() const { return rows_ == 0 || cols_ == 0; }
  std::span<T> row(size_t i) const {
    TESSERA_DCHECK(i < rows_);
    return {data_ + i * stride_, cols_};
  }
  // Rows [begin, begin + count), all columns.
  BasicMatrixView Rows(size_t begin, size_t count) const {
    TESSERA_DCHECK(begin + count <= rows_);
    return {data_ + begin * stride_, count, cols_, stride_};
  }
  // All rows, columns [begin, begin + count).
  BasicMatrixView Cols(size_t begin, size_t count) const {
    TESSERA_DCHECK(begin + count <= cols_);
    return {data_ + begin, rows_, count, stride_};
  }

 private:
  T* data_ = nullptr;
  size_t rows_ = 0;
  size_t cols_ = 0;
  size_t stride_ = 0;
};

using MatrixView = BasicMatrixView<float>;
using ConstMatrixView = BasicMatrixView<const float>;

}  // namespace tessera
