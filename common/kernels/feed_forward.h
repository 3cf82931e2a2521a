#pragma once

// One SwiGLU network on a number of rows, cut into the steps that swiglu.cc shares out to threads.
// Internal to this room.
//
//   x --gate, up--> strips --silu * up--> act [rows, width] --down--> strips --> y

#include <cstddef>
#include <span>

#include "common/kernels/product.h"
#include "common/kernels/swiglu.h"

namespace tessera::kernels {

class FeedForward {
 public:
  FeedForward() = default;
  // `weights` is borrowed; rows > 0.
  FeedForward(const Compute& compute, const SwiGluWeights& weights, size_t rows);

  // Memory the steps need; a multiple of 64, given to Place (64-byte aligned) before the first.
  size_t scratch_bytes() const;
  void Place(std::byte* scratch);

  size_t rows() const { return down_.rows(); }
  size_t act_strip_count() const { return gate_.strip_count(); }
  size_t act_strip_bytes() const { return gate_.strip_bytes() * (woven_ ? 1 : 2); }
  const Product& gate() const { return gate_; }
  const Product& down() const { return down_; }

  // Row `row` of the network's input. Apart gate and up share it: they are of one type.
  void ConvertInput(size_t row, const float* x) const { gate_.ConvertRow(row, x); }
  void ConvertInputs(const Compute& compute, ConstMatrixView x) const {
    gate_.ConvertRows(compute, x);
  }
  // Strips [begin, end) of gate and up, with silu(gate) * up, into act.
  void RunAct(size_t begin, size_t end) const;
  // When all of act is there: makes it the input of down.
  void ConvertAct(size_t row) const { down_.ConvertRow(row, act().row(row).data()); }
  void ConvertActs(const Compute& compute) const { down_.ConvertRows(compute, act()); }
  // Strips [begin, end) of down into y [rows, d_model], row r times row_weights[r]; empty: times 1.
  void RunDown(size_t begin, size_t end, std::span<const float> row_weights, MatrixView y) const;

 private:
  ConstMatrixView act() const { return {act_, rows(), width_, act_stride_}; }

  const StripKernels* kernels_ = nullptr;
  Product gate_;  // or gate and up woven
  Product up_;    // unused if woven
  Product down_;
  float* act_ = nullptr;
  size_t width_ = 0;
  size_t act_stride_ = 0;
  bool woven_ = false;
};

}  // namespace tessera::kernels
