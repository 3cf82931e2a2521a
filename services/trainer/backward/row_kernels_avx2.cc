#include "services/trainer/backward/lanes_avx2.h"
#include "services/trainer/backward/row_kernels.h"
#include "services/trainer/backward/row_kernels_loops.h"

namespace tessera::trainer {
namespace {
using Loops = RowLoops<FloatLanes>;
}  // namespace

template <>
void NormForward<float>(const NormArgs<float>& args, Strided<const float> x, Strided<float> y,
                        float* inverse) {
  Loops::Norm(args, x, nullptr, y, inverse);
}
template <>
void AddNormForward<float>(const NormArgs<float>& args, Strided<const float> x,
                           Strided<const float> before, Strided<float> y, float* inverse) {
  Loops::Norm(args, x, &before, y, inverse);
}
template <>
void NormBackward<float>(const NormArgs<float>& args, Strided<const float> x, const float* inverse,
                         Strided<const float> dy, Strided<float> dx, bool add, float* dweight) {
  Loops::NormBack(args, x, inverse, dy, dx, add, dweight);
}
template <>
void Rotate<float>(size_t rows, size_t cols, const float* cosines, const float* sines,
                   bool backwards, Strided<float> x) {
  Loops::Turn(rows, cols, cosines, sines, backwards, x);
}
template <>
void GateForward<float>(size_t rows, size_t cols, Strided<const float> x, Strided<const float> gate,
                        Strided<float> y) {
  Loops::Gate(rows, cols, x, gate, y);
}
template <>
void GateBackward<float>(size_t rows, size_t cols, Strided<const float> x,
                         Strided<const float> gate, Strided<const float> dy, Strided<float> dx,
                         Strided<float> dgate) {
  Loops::GateBack(rows, cols, x, gate, dy, dx, dgate);
}
template <>
void SwiGluForward<float>(size_t rows, size_t width, const float* gate_up, float* act) {
  Loops::SwiGlu(rows, width, gate_up, act);
}
template <>
void SwiGluBackward<float>(size_t rows, size_t width, const float* gate_up, const float* dact,
                           const float* weight, float* dgate_up) {
  Loops::SwiGluBack(rows, width, gate_up, dact, weight, dgate_up);
}
template <>
void SigmoidInPlace<float>(size_t n, float* x) {
  ForLanes<FloatLanes>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    M::Store(x + i, M::Sigmoid(M::Load(x + i)));
  });
}
template <>
void AddScaled<float>(size_t n, float scale, const float* x, float* y) {
  ForLanes<FloatLanes>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    M::Store(y + i, M::MulAdd(M::Fill(scale), M::Load(x + i), M::Load(y + i)));
  });
}
template <>
void Scale<float>(size_t n, float scale, const float* x, float* y) {
  Loops::Multiply(n, scale, x, y);
}
template <>
float Dot<float>(size_t n, const float* x, const float* y) {
  return SumLanes<FloatLanes>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    return M::Mul(M::Load(x + i), M::Load(y + i));
  });
}
template <>
TokenLoss<float> LossRow<float>(size_t vocab, size_t target, float scale, float z_weight,
                                float* logits) {
  return Loops::Loss(vocab, target, scale, z_weight, logits);
}
template <>
void SoftmaxForward<float>(const SoftmaxBand& band, float scale, float* scores, float* log_sums,
                           float* inverse_sums) {
  Loops::Softmax(band, scale, scores, log_sums, inverse_sums);
}
template <>
void SoftmaxAgain<float>(const SoftmaxBand& band, float scale, const float* log_sums,
                         float* scores) {
  Loops::SoftmaxRepeat(band, scale, log_sums, scores);
}
template <>
void SoftmaxBackward<float>(const SoftmaxBand& band, float scale, const float* probabilities,
                            const float* mean_gradient, float* dprobabilities) {
  Loops::SoftmaxBack(band, scale, probabilities, mean_gradient, dprobabilities);
}

}  // namespace tessera::trainer
