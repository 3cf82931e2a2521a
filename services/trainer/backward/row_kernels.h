#pragma once

// What happens to rows between the products, forward and backward. T is float (AVX-512 or AVX2,
// with the same bits) or double. A backward function takes the gradient of its forward's output and
// gives those of its inputs; gradients of weights are always added to. Free functions of borrowed
// memory: thread-safe.

#include <cstddef>
#include <cstdint>

namespace tessera::trainer {

// Where the rows of a matrix begin, `stride` numbers apart.
template <typename T>
struct Strided {
  T* data;
  size_t stride;
  T* row(size_t i) const { return data + i * stride; }
  operator Strided<const T>() const { return {data, stride}; }
};

template <typename T>
struct NormArgs {
  size_t rows;
  size_t cols;
  const T* weight;  // [cols]
  T eps;
};
// y = x / sqrt(mean(x^2) + eps) * weight; inverse [rows] keeps 1 / sqrt(..) for the way back.
template <typename T>
void NormForward(const NormArgs<T>& args, Strided<const T> x, Strided<T> y, T* inverse);
// y = before + norm(x), the second half of a sandwich norm.
template <typename T>
void AddNormForward(const NormArgs<T>& args, Strided<const T> x, Strided<const T> before,
                    Strided<T> y, T* inverse);
// add: dx += instead of dx =. dx may be dy.
template <typename T>
void NormBackward(const NormArgs<T>& args, Strided<const T> x, const T* inverse,
                  Strided<const T> dy, Strided<T> dx, bool add, T* dweight);

// Turns pairs (j, j + cols/2) of each row by that row's angle; cosines, sines [rows, cols/2].
// backwards: by the negative angle, which is what gradients need.
template <typename T>
void Rotate(size_t rows, size_t cols, const T* cosines, const T* sines, bool backwards,
            Strided<T> x);

// y = x * sigmoid(gate), row by row.
template <typename T>
void GateForward(size_t rows, size_t cols, Strided<const T> x, Strided<const T> gate, Strided<T> y);
// y as above, once more.
template <typename T>
struct GateGradient {
  Strided<const T> dy;
  Strided<T> y;
  Strided<T> dx;
  Strided<T> dgate;
};
template <typename T>
void GateBackward(size_t rows, size_t cols, Strided<const T> x, Strided<const T> gate,
                  const GateGradient<T>& gradient);

// act [rows, width] = silu(gate) * up, of gate_up [rows, 2 * width], gate first.
template <typename T>
void SwiGluForward(size_t rows, size_t width, const T* gate_up, T* act);
// dgate_up of dact, where row r of dact counts weight[r] times (null: once); act as above, once
// more, times weight[r] too. dots [rows], null or <act, dact> without the weight.
template <typename T>
struct SwiGluGradient {
  const T* dact;
  const T* weight;
  T* act;
  T* dgate_up;
  T* dots;
};
template <typename T>
void SwiGluBackward(size_t rows, size_t width, const T* gate_up, const SwiGluGradient<T>& gradient);

// x = sigmoid(x)
template <typename T>
void SigmoidInPlace(size_t n, T* x);
// y += scale * x
template <typename T>
void AddScaled(size_t n, T scale, const T* x, T* y);
// y += sum of scales[i] * rows[i] over `count` rows of n; in their order.
template <typename T>
void AddScaledRows(size_t n, size_t count, const T* scales, const T* const* rows, T* y);
// y = scale * x
template <typename T>
void Scale(size_t n, T scale, const T* x, T* y);
template <typename T>
T Dot(size_t n, const T* x, const T* y);

// Nesterov's momentum: momentum = mu * momentum + scale * gradient and update = scale * gradient +
// mu * momentum. Returns the sum of the update's squares.
template <typename T>
T MomentumStep(size_t n, T mu, T scale, const T* gradient, T* momentum, T* update);

// The k (<= n) largest of x + y, descending, ties to the lower index.
template <typename T>
void LargestSums(size_t n, size_t k, const T* x, const T* y, uint32_t* ids, T* sums);

// Cross entropy of one row of logits against `target`, with z_weight * log(sum(exp))^2 on top;
// logits become the gradient of scale * both.
template <typename T>
struct TokenLoss {
  T cross_entropy;
  T log_sum;  // log(sum(exp(logits)))
  bool hit;   // no logit was larger than the target's
};
template <typename T>
TokenLoss<T> LossRow(size_t vocab, size_t target, T scale, T z_weight, T* logits);

// Rows of scores [rows, stride] of which columns [first, last) of row r count, first = first_of
// + r but at least 0 and last = last_of + r: become exp(scale * s - max), 0 elsewhere in
// [0, cols).
struct SoftmaxBand {
  size_t rows;
  size_t cols;
  size_t stride;
  ptrdiff_t first;  // of row 0; grows by one a row, unless `pinned`
  ptrdiff_t last;   // of row 0; grows by one a row
  bool pinned;      // every row begins at column 0
};
// log_sums [rows]: log of the sum of exp(scale * s). inverse_sums [rows]: 1 / sum(exp(.. - max)).
template <typename T>
void SoftmaxForward(const SoftmaxBand& band, T scale, T* scores, T* log_sums, T* inverse_sums);
// scores become probabilities, from log_sums.
template <typename T>
void SoftmaxAgain(const SoftmaxBand& band, T scale, const T* log_sums, T* scores);
// dscores = probabilities * (dprobabilities - mean_gradient[row]) * scale, in place.
template <typename T>
void SoftmaxBackward(const SoftmaxBand& band, T scale, const T* probabilities,
                     const T* mean_gradient, T* dprobabilities);

}  // namespace tessera::trainer
