#include "services/trainer/backward/lanes.h"
#include "services/trainer/backward/row_kernels.h"
#include "services/trainer/backward/row_kernels_loops.h"

namespace tessera::trainer {
namespace {
using Loops = RowLoops<PlainLane<double>>;
}  // namespace

template <>
void NormForward<double>(const NormArgs<double>& args, Strided<const double> x, Strided<double> y,
                         double* inverse) {
  Loops::Norm(args, x, nullptr, y, inverse);
}
template <>
void AddNormForward<double>(const NormArgs<double>& args, Strided<const double> x,
                            Strided<const double> before, Strided<double> y, double* inverse) {
  Loops::Norm(args, x, &before, y, inverse);
}
template <>
void NormBackward<double>(const NormArgs<double>& args, Strided<const double> x,
                          const double* inverse, Strided<const double> dy, Strided<double> dx,
                          bool add, double* dweight) {
  Loops::NormBack(args, x, inverse, dy, dx, add, dweight);
}
template <>
void Rotate<double>(size_t rows, size_t cols, const double* cosines, const double* sines,
                    bool backwards, Strided<double> x) {
  Loops::Turn(rows, cols, cosines, sines, backwards, x);
}
template <>
void GateForward<double>(size_t rows, size_t cols, Strided<const double> x,
                         Strided<const double> gate, Strided<double> y) {
  Loops::Gate(rows, cols, x, gate, y);
}
template <>
void GateBackward<double>(size_t rows, size_t cols, Strided<const double> x,
                          Strided<const double> gate, Strided<const double> dy, Strided<double> dx,
                          Strided<double> dgate) {
  Loops::GateBack(rows, cols, x, gate, dy, dx, dgate);
}
template <>
void SwiGluForward<double>(size_t rows, size_t width, const double* gate_up, double* act) {
  Loops::SwiGlu(rows, width, gate_up, act);
}
template <>
void SwiGluBackward<double>(size_t rows, size_t width, const double* gate_up, const double* dact,
                            const double* weight, double* dgate_up) {
  Loops::SwiGluBack(rows, width, gate_up, dact, weight, dgate_up);
}
template <>
void SigmoidInPlace<double>(size_t n, double* x) {
  ForLanes<PlainLane<double>>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    M::Store(x + i, M::Sigmoid(M::Load(x + i)));
  });
}
template <>
void AddScaled<double>(size_t n, double scale, const double* x, double* y) {
  ForLanes<PlainLane<double>>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    M::Store(y + i, M::MulAdd(M::Fill(scale), M::Load(x + i), M::Load(y + i)));
  });
}
template <>
void Scale<double>(size_t n, double scale, const double* x, double* y) {
  Loops::Multiply(n, scale, x, y);
}
template <>
double Dot<double>(size_t n, const double* x, const double* y) {
  return SumLanes<PlainLane<double>>(n, [&](auto lane, size_t i) {
    using M = decltype(lane);
    return M::Mul(M::Load(x + i), M::Load(y + i));
  });
}
template <>
TokenLoss<double> LossRow<double>(size_t vocab, size_t target, double scale, double z_weight,
                                  double* logits) {
  return Loops::Loss(vocab, target, scale, z_weight, logits);
}
template <>
void SoftmaxForward<double>(const SoftmaxBand& band, double scale, double* scores, double* log_sums,
                            double* inverse_sums) {
  Loops::Softmax(band, scale, scores, log_sums, inverse_sums);
}
template <>
void SoftmaxAgain<double>(const SoftmaxBand& band, double scale, const double* log_sums,
                          double* scores) {
  Loops::SoftmaxRepeat(band, scale, log_sums, scores);
}
template <>
void SoftmaxBackward<double>(const SoftmaxBand& band, double scale, const double* probabilities,
                             const double* mean_gradient, double* dprobabilities) {
  Loops::SoftmaxBack(band, scale, probabilities, mean_gradient, dprobabilities);
}

}  // namespace tessera::trainer
