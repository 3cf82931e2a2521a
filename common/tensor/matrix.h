#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "common/tensor/matrix_view.h"

namespace tessera {

// Zeroed memory straight from the system: pages of a large matrix are committed when first touched,
// so scratch for the largest step costs nothing while steps are small.
template <typename T>
struct LazyZeroAllocator {
  using value_type = T;
  LazyZeroAllocator() = default;
  template <typename U>
  LazyZeroAllocator(const LazyZeroAllocator<U>&) {}
  T* allocate(size_t count) {
    if (void* memory = std::calloc(count, sizeof(T))) return static_cast<T*>(memory);
    throw std::bad_alloc();
  }
  void deallocate(T* memory, size_t) { std::free(memory); }
  void construct(T*) {}  // zero already
  template <typename... Args>
  void construct(T* at, Args&&... args) {
    ::new (static_cast<void*>(at)) T(std::forward<Args>(args)...);
  }
  bool operator==(const LazyZeroAllocator&) const { return true; }
};

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
  std::vector<float, LazyZeroAllocator<float>> values_;
};

}  // namespace tessera
