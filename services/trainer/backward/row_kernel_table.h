#pragma once

// The kernels of row_kernels.h by instruction set. All levels of a type give the same bits.
// Internal to this room; row_kernels.cc chooses, the tests compare.

#include "services/trainer/backward/row_kernels.h"

namespace tessera::trainer {

// One way to compute each of them, under the names of row_kernels.h.
template <typename T>
struct RowKernelTable {
  decltype(&NormForward<T>) norm_forward;
  decltype(&AddNormForward<T>) add_norm_forward;
  decltype(&NormBackward<T>) norm_backward;
  decltype(&Rotate<T>) rotate;
  decltype(&GateForward<T>) gate_forward;
  decltype(&GateBackward<T>) gate_backward;
  decltype(&SwiGluForward<T>) swi_glu_forward;
  decltype(&SwiGluBackward<T>) swi_glu_backward;
  decltype(&SigmoidInPlace<T>) sigmoid_in_place;
  decltype(&AddScaled<T>) add_scaled;
  decltype(&AddScaledRows<T>) add_scaled_rows;
  decltype(&Scale<T>) scale;
  decltype(&Dot<T>) dot;
  decltype(&MomentumStep<T>) momentum_step;
  decltype(&LargestSums<T>) largest_sums;
  decltype(&LossRow<T>) loss_row;
  decltype(&SoftmaxForward<T>) softmax_forward;
  decltype(&SoftmaxAgain<T>) softmax_again;
  decltype(&SoftmaxBackward<T>) softmax_backward;
};

const RowKernelTable<double>& RowKernelsPlain();
const RowKernelTable<float>& RowKernelsAvx2();    // only on a CPU that can train (CpuCanTrain)
const RowKernelTable<float>& RowKernelsAvx512();  // only where CpuHasAvx512()

}  // namespace tessera::trainer
