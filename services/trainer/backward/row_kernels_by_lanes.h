#pragma once

// The kernels of row_kernels.h, written once for any lanes (lanes.h). A source file of one
// instruction set makes its table of them:
//
//   const RowKernelTable<double>& RowKernelsPlain() {
//     static constexpr RowKernelTable<double> kTable = TableOf<PlainLane<double>>();
//     return kTable;
//   }
//
// Internal to this room.

#include <cstddef>
#include <cstdint>

#include "services/trainer/backward/lanes.h"
#include "services/trainer/backward/row_kernel_table.h"
#include "services/trainer/backward/row_kernels.h"
#include "services/trainer/backward/row_kernels_loops.h"

namespace tessera::trainer {
namespace {

template <class L>
struct RowKernels : RowLoops<L> {
  using T = typename L::T;

  static void SigmoidInPlace(size_t n, T* x) {
    ForLanes<L>(n, [&](auto lane, size_t i) {
      using M = decltype(lane);
      M::Store(x + i, M::Sigmoid(M::Load(x + i)));
    });
  }
  static void AddScaled(size_t n, T scale, const T* x, T* y) {
    ForLanes<L>(n, [&](auto lane, size_t i) {
      using M = decltype(lane);
      M::Store(y + i, M::MulAdd(M::Fill(scale), M::Load(x + i), M::Load(y + i)));
    });
  }
  static void AddScaledRows(size_t n, size_t count, const T* scales, const T* const* rows, T* y) {
    ForLanes<L>(n, [&](auto lane, size_t i) {
      using M = decltype(lane);
      auto sum = M::Load(y + i);
      for (size_t r = 0; r < count; ++r) {
        sum = M::MulAdd(M::Fill(scales[r]), M::Load(rows[r] + i), sum);
      }
      M::Store(y + i, sum);
    });
  }
  static T Dot(size_t n, const T* x, const T* y) {
    return SumLanes<L>(n, [&](auto lane, size_t i) {
      using M = decltype(lane);
      return M::Mul(M::Load(x + i), M::Load(y + i));
    });
  }
  static T MomentumStep(size_t n, T mu, T scale, const T* gradient, T* momentum, T* update) {
    return SumLanes<L>(n, [&](auto lane, size_t i) {
      using M = decltype(lane);
      const auto scaled = M::Mul(M::Fill(scale), M::Load(gradient + i));
      const auto kept = M::MulAdd(M::Fill(mu), M::Load(momentum + i), scaled);
      const auto result = M::MulAdd(M::Fill(mu), kept, scaled);
      M::Store(momentum + i, kept);
      M::Store(update + i, result);
      return M::Mul(result, result);
    });
  }
  static void LargestSums(size_t n, size_t k, const T* x, const T* y, uint32_t* ids, T* sums) {
    size_t found = 0;
    ForLanes<L>(n, [&](auto lane, size_t first) {
      using M = decltype(lane);
      // Most lanes hold none: for them that is all.
      const auto all = M::Add(M::Load(x + first), M::Load(y + first));
      if (found == k && !M::AnyAbove(all, sums[k - 1])) return;
      for (size_t i = first; i < first + M::kWidth; ++i) {
        const T sum = x[i] + y[i];
        if (found == k && !(sum > sums[k - 1])) continue;
        size_t at = found < k ? found++ : k - 1;
        for (; at > 0 && sum > sums[at - 1]; --at) {
          sums[at] = sums[at - 1];
          ids[at] = ids[at - 1];
        }
        sums[at] = sum;
        ids[at] = static_cast<uint32_t>(i);
      }
    });
  }
};

template <class L>
constexpr RowKernelTable<typename L::T> TableOf() {
  using K = RowKernels<L>;
  return {
      .norm_forward = &K::NormForward,
      .add_norm_forward = &K::AddNormForward,
      .norm_backward = &K::NormBackward,
      .rotate = &K::Rotate,
      .gate_forward = &K::GateForward,
      .gate_backward = &K::GateBackward,
      .swi_glu_forward = &K::SwiGluForward,
      .swi_glu_backward = &K::SwiGluBackward,
      .sigmoid_in_place = &K::SigmoidInPlace,
      .add_scaled = &K::AddScaled,
      .add_scaled_rows = &K::AddScaledRows,
      .scale = &K::Scale,
      .dot = &K::Dot,
      .momentum_step = &K::MomentumStep,
      .largest_sums = &K::LargestSums,
      .loss_row = &K::LossRow,
      .softmax_forward = &K::SoftmaxForward,
      .softmax_again = &K::SoftmaxAgain,
      .softmax_backward = &K::SoftmaxBackward,
  };
}

}  // namespace
}  // namespace tessera::trainer
