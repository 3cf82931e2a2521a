#pragma once

// The loops behind row_kernels.h, for one kind of lanes. Internal to this room.

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "services/trainer/backward/lanes.h"
#include "services/trainer/backward/row_kernels.h"

namespace tessera::trainer {
namespace {

// Shorthand inside the bodies of ForLanes.
#define TESSERA_LANE using M = decltype(lane)

template <class L>
struct RowLoops {
  using T = typename L::T;

  static void Norm(const NormArgs<T>& args, Strided<const T> x, const Strided<const T>* before,
                   Strided<T> y, T* inverse) {
    for (size_t r = 0; r < args.rows; ++r) {
      const T* from = x.row(r);
      T* to = y.row(r);
      const T square = SumLanes<L>(args.cols, [&](auto lane, size_t i) {
        TESSERA_LANE;
        return M::Mul(M::Load(from + i), M::Load(from + i));
      });
      const T factor = 1 / std::sqrt(square / static_cast<T>(args.cols) + args.eps);
      inverse[r] = factor;
      const T* base = before ? before->row(r) : nullptr;
      ForLanes<L>(args.cols, [&](auto lane, size_t i) {
        TESSERA_LANE;
        const auto normed =
            M::Mul(M::Mul(M::Load(from + i), M::Fill(factor)), M::Load(args.weight + i));
        M::Store(to + i, base ? M::Add(M::Load(base + i), normed) : normed);
      });
    }
  }

  static void NormForward(const NormArgs<T>& args, Strided<const T> x, Strided<T> y, T* inverse) {
    Norm(args, x, nullptr, y, inverse);
  }
  static void AddNormForward(const NormArgs<T>& args, Strided<const T> x, Strided<const T> before,
                             Strided<T> y, T* inverse) {
    Norm(args, x, &before, y, inverse);
  }

  // With g = dy * weight and n = x * inverse: dx = inverse * (g - n * mean(g * n)).
  static void NormBackward(const NormArgs<T>& args, Strided<const T> x, const T* inverse,
                           Strided<const T> dy, Strided<T> dx, bool add, T* dweight) {
    for (size_t r = 0; r < args.rows; ++r) {
      const T* in = x.row(r);
      const T* up = dy.row(r);
      T* down = dx.row(r);
      const T factor = inverse[r];
      const T dot = SumLanes<L>(args.cols, [&](auto lane, size_t i) {
        TESSERA_LANE;
        return M::Mul(M::Mul(M::Load(up + i), M::Load(args.weight + i)), M::Load(in + i));
      });
      const T mean = dot * factor * factor / static_cast<T>(args.cols);
      ForLanes<L>(args.cols, [&](auto lane, size_t i) {
        TESSERA_LANE;
        const auto value = M::Load(in + i);
        const auto gradient = M::Load(up + i);
        M::Store(dweight + i,
                 M::MulAdd(M::Mul(gradient, value), M::Fill(factor), M::Load(dweight + i)));
        const auto g = M::Mul(gradient, M::Load(args.weight + i));
        const auto back = M::Mul(M::Fill(factor), M::Sub(g, M::Mul(value, M::Fill(mean))));
        M::Store(down + i, add ? M::Add(M::Load(down + i), back) : back);
      });
    }
  }

  static void Rotate(size_t rows, size_t cols, const T* cosines, const T* sines, bool backwards,
                     Strided<T> x) {
    const size_t half = cols / 2;
    const T sign = backwards ? -1 : 1;
    for (size_t r = 0; r < rows; ++r) {
      T* low = x.row(r);
      T* high = low + half;
      const T* cosine = cosines + r * half;
      const T* sine = sines + r * half;
      ForLanes<L>(half, [&](auto lane, size_t i) {
        TESSERA_LANE;
        const auto a = M::Load(low + i), b = M::Load(high + i), c = M::Load(cosine + i);
        const auto s = M::Mul(M::Fill(sign), M::Load(sine + i));
        M::Store(low + i, M::Sub(M::Mul(a, c), M::Mul(b, s)));
        M::Store(high + i, M::MulAdd(a, s, M::Mul(b, c)));
      });
    }
  }

  static void GateForward(size_t rows, size_t cols, Strided<const T> x, Strided<const T> gate,
                          Strided<T> y) {
    for (size_t r = 0; r < rows; ++r) {
      const T *from = x.row(r), *by = gate.row(r);
      T* to = y.row(r);
      ForLanes<L>(cols, [&](auto lane, size_t i) {
        TESSERA_LANE;
        M::Store(to + i, M::Mul(M::Load(from + i), M::Sigmoid(M::Load(by + i))));
      });
    }
  }

  static void GateBackward(size_t rows, size_t cols, Strided<const T> x, Strided<const T> gate,
                           const GateGradient<T>& gradient) {
    for (size_t r = 0; r < rows; ++r) {
      const T *in = x.row(r), *by = gate.row(r), *up = gradient.dy.row(r);
      T *again = gradient.y.row(r), *down = gradient.dx.row(r);
      T* down_gate = gradient.dgate.row(r);
      ForLanes<L>(cols, [&](auto lane, size_t i) {
        TESSERA_LANE;
        const auto s = M::Sigmoid(M::Load(by + i));
        const auto gated = M::Mul(M::Load(in + i), s), back = M::Load(up + i);
        M::Store(again + i, gated);
        M::Store(down_gate + i, M::Mul(M::Mul(back, gated), M::Sub(M::Fill(1), s)));
        M::Store(down + i, M::Mul(back, s));
      });
    }
  }

  static void SwiGluForward(size_t rows, size_t width, const T* gate_up, T* act) {
    for (size_t r = 0; r < rows; ++r, gate_up += 2 * width, act += width) {
      ForLanes<L>(width, [&](auto lane, size_t i) {
        TESSERA_LANE;
        const auto gate = M::Load(gate_up + i);
        const auto silu = M::Mul(gate, M::Sigmoid(gate));
        M::Store(act + i, M::Mul(silu, M::Load(gate_up + width + i)));
      });
    }
  }

  static void SwiGluBackward(size_t rows, size_t width, const T* gate_up,
                             const SwiGluGradient<T>& gradient) {
    for (size_t r = 0; r < rows; ++r) {
      const T* in = gate_up + r * 2 * width;
      const T* back = gradient.dact + r * width;
      T *again = gradient.act + r * width, *down = gradient.dgate_up + r * 2 * width;
      const T times = gradient.weight ? gradient.weight[r] : T{1};
      const T dot = SumLanes<L>(width, [&](auto lane, size_t i) {
        TESSERA_LANE;
        const auto gate = M::Load(in + i), up = M::Load(in + width + i), d = M::Load(back + i);
        const auto s = M::Sigmoid(gate);
        const auto silu = M::Mul(gate, s), act = M::Mul(silu, up), scale = M::Fill(times);
        const auto scaled = M::Mul(d, scale);
        // silu' = s + silu * (1 - s)
        const auto slope = M::MulAdd(silu, M::Sub(M::Fill(1), s), s);
        M::Store(again + i, M::Mul(act, scale));
        M::Store(down + i, M::Mul(M::Mul(scaled, up), slope));
        M::Store(down + width + i, M::Mul(scaled, silu));
        return M::Mul(act, d);
      });
      if (gradient.dots) gradient.dots[r] = dot;
    }
  }

  // x = exp(scale * x - shift), of which none is above 1. Returns their sum.
  static T ExpOf(size_t n, T scale, T shift, T* x) {
    return SumLanes<L>(n, [&](auto lane, size_t i) {
      TESSERA_LANE;
      const auto value = M::Sub(M::Mul(M::Fill(scale), M::Load(x + i)), M::Fill(shift));
      const auto result = M::ExpNonPositive(value);
      M::Store(x + i, result);
      return result;
    });
  }

  static TokenLoss<T> LossRow(size_t vocab, size_t target, T scale, T z_weight, T* logits) {
    const T largest = LargestOf<typename L::SumLane>(logits, vocab);
    const T own = logits[target];
    const T sum = ExpOf(vocab, T{1}, largest, logits);
    const T log_sum = largest + std::log(sum);
    // d(log_sum)/d(logit) = probability, for both terms.
    const T factor = scale * (1 + 2 * z_weight * log_sum) / sum;
    Scale(vocab, factor, logits, logits);
    logits[target] -= scale;
    return {log_sum - own, log_sum, !(own < largest)};
  }

  static void Scale(size_t n, T scale, const T* x, T* y) {
    ForLanes<L>(n, [&](auto lane, size_t i) {
      TESSERA_LANE;
      M::Store(y + i, M::Mul(M::Fill(scale), M::Load(x + i)));
    });
  }

  struct Range {
    size_t first;
    size_t last;
  };
  static Range RangeOf(const SoftmaxBand& band, size_t row) {
    const auto offset = static_cast<ptrdiff_t>(row);
    const ptrdiff_t first = band.pinned ? 0 : std::max<ptrdiff_t>(0, band.first + offset);
    return {static_cast<size_t>(first), static_cast<size_t>(band.last + offset)};
  }

  static void SoftmaxForward(const SoftmaxBand& band, T scale, T* scores, T* log_sums,
                             T* inverse_sums) {
    for (size_t r = 0; r < band.rows; ++r) {
      T* row = scores + r * band.stride;
      const auto [first, last] = RangeOf(band, r);
      T* x = row + first;
      const size_t n = last - first;
      const T largest = scale * LargestOf<typename L::SumLane>(x, n);
      const T sum = ExpOf(n, scale, largest, x);
      std::fill(row, x, T{0});
      std::fill(row + last, row + band.cols, T{0});
      log_sums[r] = largest + std::log(sum);
      inverse_sums[r] = 1 / sum;
    }
  }

  static void SoftmaxAgain(const SoftmaxBand& band, T scale, const T* log_sums, T* scores) {
    for (size_t r = 0; r < band.rows; ++r) {
      T* row = scores + r * band.stride;
      const auto [first, last] = RangeOf(band, r);
      T* x = row + first;
      ExpOf(last - first, scale, log_sums[r], x);
      std::fill(row, x, T{0});
      std::fill(row + last, row + band.cols, T{0});
    }
  }

  static void SoftmaxBackward(const SoftmaxBand& band, T scale, const T* probabilities,
                              const T* mean_gradient, T* dprobabilities) {
    for (size_t r = 0; r < band.rows; ++r) {
      T* row = dprobabilities + r * band.stride;
      const auto [first, last] = RangeOf(band, r);
      const T* p = probabilities + r * band.stride + first;
      T* d = row + first;
      const T mean = mean_gradient[r];
      ForLanes<L>(last - first, [&](auto lane, size_t i) {
        TESSERA_LANE;
        const auto scaled = M::Mul(M::Fill(scale), M::Load(p + i));
        M::Store(d + i, M::Mul(scaled, M::Sub(M::Load(d + i), M::Fill(mean))));
      });
      std::fill(row, d, T{0});
      std::fill(row + last, row + band.cols, T{0});
    }
  }
};

#undef TESSERA_LANE

}  // namespace
}  // namespace tessera::trainer
