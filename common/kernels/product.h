#pragma once

// The part of a matrix product that does not depend on the instruction set: rows in the form the
// level wants, strips in passes of rows. Internal to this room, used by matmul.cc and swiglu.cc.

#include <algorithm>
#include <cstddef>

#include "absl/functional/function_ref.h"
#include "common/kernels/strip_kernels.h"
#include "common/tensor/matrix_view.h"

namespace tessera::kernels {

// One matrix times a number of rows. Borrows the weights and the converted rows.
class Product {
 public:
  Product() = default;
  // `weights` must not be empty; `rows` > 0.
  Product(const Compute& compute, const WeightMatrix& weights, size_t rows);

  size_t rows() const { return kind_.rows; }
  size_t strip_count() const { return PanelCount(weights_->outputs()); }
  size_t strip_bytes() const { return weights_->size_bytes() / strip_count(); }
  RowForm form() const { return form_; }
  // Memory for the converted rows; a multiple of 64.
  size_t form_bytes() const;

  // Says where the converted rows are, or will be before the first strip.
  void set_converted(std::byte* converted) { converted_ = converted; }
  std::byte* converted() const { return converted_; }
  // Row `row` of the product; x holds inputs() numbers.
  void ConvertRow(size_t row, const float* x) const {
    kernels_->convert_row(form_, x, weights_->inputs(), row, kind_.rows, converted_);
  }
  // All rows, by the calling thread, or by all threads when there is enough of it.
  void ConvertRows(const Compute& compute, ConstMatrixView x) const;

  // Rows [row_begin, row_begin + row_count) times strip `strip` into out [row_count, 32], 64-byte
  // aligned; row_begin is a multiple of kPassRows, row_count at most that.
  void MultiplyStrip(size_t strip, size_t row_begin, size_t row_count, float* out) const;
  // By each thread after the last of its strips.
  void ReleaseThread() const {
    if (kernels_->release != nullptr) kernels_->release();
  }

 private:
  const StripKernels* kernels_ = nullptr;
  const WeightMatrix* weights_ = nullptr;
  std::byte* converted_ = nullptr;
  ProductKind kind_;
  RowForm form_ = RowForm::kFloat32;
};

// Calls run(strip, row_begin, row_count) for every pass of `rows` rows over every strip of [begin,
// end), in the order that reads memory least: each strip once, and while a few strips (256 KB) lie
// in a cache, the rows of a pass for all of them.
void ForEachPass(size_t begin, size_t end, size_t strip_bytes, size_t rows,
                 absl::FunctionRef<void(size_t strip, size_t row_begin, size_t row_count)> run);

// Strips [begin, end) of a product into columns [32 begin, 32 end) of y; columns past y.cols() are
// left out.
void MultiplyInto(const Product& product, size_t begin, size_t end, MatrixView y);

// How many strips a thread claims at once: pieces of at most half a megabyte, at least 16 a thread.
size_t StripGrain(size_t strip_count, size_t strip_bytes, size_t thread_count);

}  // namespace tessera::kernels
