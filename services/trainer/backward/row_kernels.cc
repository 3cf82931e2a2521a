#include "services/trainer/backward/row_kernels.h"

#include "services/trainer/backward/gemm_levels.h"
#include "services/trainer/backward/row_kernel_table.h"

namespace tessera::trainer {
namespace {

template <typename T>
const RowKernelTable<T>& Best();
template <>
const RowKernelTable<double>& Best() {
  return RowKernelsPlain();
}
template <>
const RowKernelTable<float>& Best() {
  return CpuHasAvx512() ? RowKernelsAvx512() : RowKernelsAvx2();
}

}  // namespace

template <typename T>
void NormForward(const NormArgs<T>& args, Strided<const T> x, Strided<T> y, T* inverse) {
  Best<T>().norm_forward(args, x, y, inverse);
}
template <typename T>
void AddNormForward(const NormArgs<T>& args, Strided<const T> x, Strided<const T> before,
                    Strided<T> y, T* inverse) {
  Best<T>().add_norm_forward(args, x, before, y, inverse);
}
template <typename T>
void NormBackward(const NormArgs<T>& args, Strided<const T> x, const T* inverse,
                  Strided<const T> dy, Strided<T> dx, bool add, T* dweight) {
  Best<T>().norm_backward(args, x, inverse, dy, dx, add, dweight);
}
template <typename T>
void Rotate(size_t rows, size_t cols, const T* cosines, const T* sines, bool backwards,
            Strided<T> x) {
  Best<T>().rotate(rows, cols, cosines, sines, backwards, x);
}
template <typename T>
void GateForward(size_t rows, size_t cols, Strided<const T> x, Strided<const T> gate,
                 Strided<T> y) {
  Best<T>().gate_forward(rows, cols, x, gate, y);
}
template <typename T>
void GateBackward(size_t rows, size_t cols, Strided<const T> x, Strided<const T> gate,
                  const GateGradient<T>& gradient) {
  Best<T>().gate_backward(rows, cols, x, gate, gradient);
}
template <typename T>
void SwiGluForward(size_t rows, size_t width, const T* gate_up, T* act) {
  Best<T>().swi_glu_forward(rows, width, gate_up, act);
}
template <typename T>
void SwiGluBackward(size_t rows, size_t width, const T* gate_up,
                    const SwiGluGradient<T>& gradient) {
  Best<T>().swi_glu_backward(rows, width, gate_up, gradient);
}
template <typename T>
void SigmoidInPlace(size_t n, T* x) {
  Best<T>().sigmoid_in_place(n, x);
}
template <typename T>
void AddScaled(size_t n, T scale, const T* x, T* y) {
  Best<T>().add_scaled(n, scale, x, y);
}
template <typename T>
void AddScaledRows(size_t n, size_t count, const T* scales, const T* const* rows, T* y) {
  Best<T>().add_scaled_rows(n, count, scales, rows, y);
}
template <typename T>
void Scale(size_t n, T scale, const T* x, T* y) {
  Best<T>().scale(n, scale, x, y);
}
template <typename T>
T Dot(size_t n, const T* x, const T* y) {
  return Best<T>().dot(n, x, y);
}
template <typename T>
T MomentumStep(size_t n, T mu, T scale, const T* gradient, T* momentum, T* update) {
  return Best<T>().momentum_step(n, mu, scale, gradient, momentum, update);
}
template <typename T>
void LargestSums(size_t n, size_t k, const T* x, const T* y, uint32_t* ids, T* sums) {
  Best<T>().largest_sums(n, k, x, y, ids, sums);
}
template <typename T>
TokenLoss<T> LossRow(size_t vocab, size_t target, T scale, T z_weight, T* logits) {
  return Best<T>().loss_row(vocab, target, scale, z_weight, logits);
}
template <typename T>
void SoftmaxForward(const SoftmaxBand& band, T scale, T* scores, T* log_sums, T* inverse_sums) {
  Best<T>().softmax_forward(band, scale, scores, log_sums, inverse_sums);
}
template <typename T>
void SoftmaxAgain(const SoftmaxBand& band, T scale, const T* log_sums, T* scores) {
  Best<T>().softmax_again(band, scale, log_sums, scores);
}
template <typename T>
void SoftmaxBackward(const SoftmaxBand& band, T scale, const T* probabilities,
                     const T* mean_gradient, T* dprobabilities) {
  Best<T>().softmax_backward(band, scale, probabilities, mean_gradient, dprobabilities);
}

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

TESSERA_ROW_KERNELS(float);
TESSERA_ROW_KERNELS(double);

#undef TESSERA_ROW_KERNELS

}  // namespace tessera::trainer
