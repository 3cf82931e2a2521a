#pragma once

// The kernels of row_kernels.h, written once for any lanes (lanes.h). A source file says which
// lanes a number has, and asks for all kernels of it:
//
//   template <>
//   struct LanesOf<double> { using Type = PlainLane<double>; };
//   TESSERA_ROW_KERNELS(double);
//
// Internal to this room.

#include <cstddef>
#include <cstdint>

#include "services/trainer/backward/lanes.h"
#include "services/trainer/backward/row_kernels.h"
#include "services/trainer/backward/row_kernels_loops.h"

namespace tessera::trainer {

template <typename T>
struct LanesOf;

namespace {
template <typename T>
using LoopsOf = RowLoops<typename LanesOf<T>::Type>;
}  // namespace

template <typename T>
void NormForward(const NormArgs<T>& args, Strided<const T> x, Strided<T> y, T* inverse) {
  LoopsOf<T>::Norm(args, x, nullptr, y, inverse);
}
template <typename T>
void AddNormForward(const NormArgs<T>& args, Strided<const T> x, Strided<const T> before,
                    Strided<T> y, T* inverse) {
  LoopsOf<T>::Norm(args, x, &before, y, inverse);
}
template <typename T>
void NormBackward(const NormArgs<T>& args, Strided<const T> x, const T* inverse,
                  Strided<const T> dy, Strided<T> dx, bool add, T* dweight) {
  LoopsOf<T>::NormBack(args, x, inverse, dy, dx, add, dweight);
}
template <typename T>
void Rotate(size_t rows, size_t cols, const T* cosines, const T* sines, bool backwards,
            Strided<T> x) {
  LoopsOf<T>::Turn(rows, cols, cosines, sines, backwards, x);
}
template <typename T>
void GateForward(size_t rows, size_t cols, Strided<const T> x, Strided<const T> gate,
                 Strided<T> y) {
  LoopsOf<T>::Gate(rows, cols, x, gate, y);
}
template <typename T>
void GateBackward(size_t rows, size_t cols, Strided<const T> x, Strided<const T> gate,
                  const GateGradient<T>& gradient) {
  LoopsOf<T>::GateBack(rows, cols, x, gate, gradient);
}
template <typename T>
void SwiGluForward(size_t rows, size_t width, const T* gate_up, T* act) {
  LoopsOf<T>::SwiGlu(rows, width, gate_up, act);
}
template <typename T>
void SwiGluBackward(size_t rows, size_t width, const T* gate_up,
                    const SwiGluGradient<T>& gradient) {
  LoopsOf<T>::SwiGluBack(rows, width, gate_up, gradient);
}
template <typename T>
void SigmoidInPlace(size_t n, T* x) {
  ForLanes<typename LanesOf<T>::Type>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    M::Store(x + i, M::Sigmoid(M::Load(x + i)));
  });
}
template <typename T>
void AddScaled(size_t n, T scale, const T* x, T* y) {
  ForLanes<typename LanesOf<T>::Type>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    M::Store(y + i, M::MulAdd(M::Fill(scale), M::Load(x + i), M::Load(y + i)));
  });
}
template <typename T>
void AddScaledRows(size_t n, size_t count, const T* scales, const T* const* rows, T* y) {
  ForLanes<typename LanesOf<T>::Type>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    auto sum = M::Load(y + i);
    for (size_t r = 0; r < count; ++r) {
      sum = M::MulAdd(M::Fill(scales[r]), M::Load(rows[r] + i), sum);
    }
    M::Store(y + i, sum);
  });
}
template <typename T>
void Scale(size_t n, T scale, const T* x, T* y) {
  LoopsOf<T>::Multiply(n, scale, x, y);
}
template <typename T>
T Dot(size_t n, const T* x, const T* y) {
  return SumLanes<typename LanesOf<T>::Type>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    return M::Mul(M::Load(x + i), M::Load(y + i));
  });
}
template <typename T>
T MomentumStep(size_t n, T mu, T scale, const T* gradient, T* momentum, T* update) {
  return SumLanes<typename LanesOf<T>::Type>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    const auto scaled = M::Mul(M::Fill(scale), M::Load(gradient + i));
    const auto kept = M::MulAdd(M::Fill(mu), M::Load(momentum + i), scaled);
    const auto result = M::MulAdd(M::Fill(mu), kept, scaled);
    M::Store(momentum + i, kept);
    M::Store(update + i, result);
    return M::Mul(result, result);
  });
}
template <typename T>
void LargestSums(size_t n, size_t k, const T* x, const T* y, uint32_t* ids, T* sums) {
  size_t found = 0;
  ForLanes<typename LanesOf<T>::Type>(n, [&](auto lane, size_t first) {
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
template <typename T>
TokenLoss<T> LossRow(size_t vocab, size_t target, T scale, T z_weight, T* logits) {
  return LoopsOf<T>::Loss(vocab, target, scale, z_weight, logits);
}
template <typename T>
void SoftmaxForward(const SoftmaxBand& band, T scale, T* scores, T* log_sums, T* inverse_sums) {
  LoopsOf<T>::Softmax(band, scale, scores, log_sums, inverse_sums);
}
template <typename T>
void SoftmaxAgain(const SoftmaxBand& band, T scale, const T* log_sums, T* scores) {
  LoopsOf<T>::SoftmaxRepeat(band, scale, log_sums, scores);
}
template <typename T>
void SoftmaxBackward(const SoftmaxBand& band, T scale, const T* probabilities,
                     const T* mean_gradient, T* dprobabilities) {
  LoopsOf<T>::SoftmaxBack(band, scale, probabilities, mean_gradient, dprobabilities);
}

}  // namespace tessera::trainer

// What a source file can call of kernels that are made elsewhere is in row_kernels.h.
#define TESSERA_ROW_KERNELS(T)                                                                    \
  template void NormForward<T>(const NormArgs<T>&, Strided<const T>, Strided<T>, T*);             \
  template void AddNormForward<T>(const NormArgs<T>&, Strided<const T>, Strided<const T>,         \
                                  Strided<T>, T*);                                                \
  template void NormBackward<T>(const NormArgs<T>&, Strided<const T>, const T*, Strided<const T>, \
                                Strided<T>, bool, T*);                                            \
  template void Rotate<T>(size_t, size_t, const T*, const T*, bool, Strided<T>);                  \
  template void GateForward<T>(size_t, size_t, Strided<const T>, Strided<const T>, Strided<T>);   \
  template void GateBackward<T>(size_t, size_t, Strided<const T>, Strided<const T>,               \
                                const GateGradient<T>&);                                          \
  template void SwiGluForward<T>(size_t, size_t, const T*, T*);                                   \
  template void SwiGluBackward<T>(size_t, size_t, const T*, const SwiGluGradient<T>&);            \
  template void SigmoidInPlace<T>(size_t, T*);                                                    \
  template void AddScaled<T>(size_t, T, const T*, T*);                                            \
  template void AddScaledRows<T>(size_t, size_t, const T*, const T* const*, T*);                  \
  template void Scale<T>(size_t, T, const T*, T*);                                                \
  template T Dot<T>(size_t, const T*, const T*);                                                  \
  template T MomentumStep<T>(size_t, T, T, const T*, T*, T*);                                     \
  template void LargestSums<T>(size_t, size_t, const T*, const T*, uint32_t*, T*);                \
  template TokenLoss<T> LossRow<T>(size_t, size_t, T, T, T*);                                     \
  template void SoftmaxForward<T>(const SoftmaxBand&, T, T*, T*, T*);                             \
  template void SoftmaxAgain<T>(const SoftmaxBand&, T, const T*, T*);                             \
  template void SoftmaxBackward<T>(const SoftmaxBand&, T, const T*, const T*, T*)
