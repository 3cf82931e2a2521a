#include "services/trainer/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "services/trainer/backward/row_kernels.h"

namespace tessera::trainer {
namespace {

constexpr size_t kExpertsAtOnce = 32;
constexpr size_t kSumPiece = 1 << 16;  // numbers; fixed, so that the norm's sum has one order

}  // namespace

Optimizer::Optimizer(const ParameterLayout& layout, const OptimizerOptions& options,
                     ThreadPool& pool)
    : layout_(layout), options_(options), pool_(pool), first_(layout.size) {
  size_t size_max = 0, side_max = 0, second = 0;
  for (const Parameter& parameter : layout.parameters) {
    for (size_t i = 0; i < parameter.count; i += kExpertsAtOnce) {
      pieces_.push_back({&parameter, i, std::min(i + kExpertsAtOnce, parameter.count), second});
    }
    if (parameter.is_hidden_matrix()) {
      size_max = std::max(size_max, parameter.size());
      side_max = std::max(side_max, std::min(parameter.rows, parameter.cols));
    } else {
      second += parameter.size();
    }
  }
  second_.resize(second);
  const auto cost = [](const Piece& piece) {
    const Parameter& p = *piece.parameter;
    const size_t products = p.is_hidden_matrix() ? std::min(p.rows, p.cols) : 1;
    return (piece.end - piece.begin) * p.size() * products;
  };
  std::ranges::stable_sort(pieces_, std::greater<>(), cost);
  for (size_t i = 0; i < pool.thread_count(); ++i) scratch_.emplace_back(size_max, side_max);
}

double Optimizer::NormOf(std::span<const float> gradients) {
  const size_t pieces = (gradients.size() + kSumPiece - 1) / kSumPiece;
  std::vector<double> squares(pieces);
  pool_.ParallelFor(pieces, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t piece = begin; piece < end; ++piece) {
      const size_t at = piece * kSumPiece, n = std::min(kSumPiece, gradients.size() - at);
      squares[piece] = static_cast<double>(Dot(n, gradients.data() + at, gradients.data() + at));
    }
  });
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

double Optimizer::Step(uint64_t step, double rate_scale, std::span<const float> gradients,
                       std::span<float> weights) {
  const double norm = NormOf(gradients);
  const bool clip = options_.clip_norm > 0 && norm > options_.clip_norm;
  const auto scale = static_cast<float>(clip ? options_.clip_norm / norm : 1.0);
  pool_.ParallelFor(pieces_.size(), 1, [&](size_t begin, size_t end, size_t worker) {
    for (size_t i = begin; i < end; ++i) {
      StepPiece(pieces_[i], step, rate_scale, gradients.data(), scale, weights.data(),
                scratch_[worker]);
    }
  });
  return norm;
}

void Optimizer::StepPiece(const Piece& piece, uint64_t step, double rate_scale,
                          const float* gradient, float gradient_scale, float* weights,
                          MuonScratch& scratch) {
  const Parameter& parameter = *piece.parameter;
  const size_t size = parameter.size();
  if (!parameter.is_hidden_matrix()) {
    const size_t at = parameter.offset;
    return AdamStep(options_.adam, rate_scale * options_.adam_rate, step, {gradient + at, size},
                    gradient_scale, {first_.data() + at, size},
                    {second_.data() + piece.second, size}, {weights + at, size});
  }
  for (size_t i = piece.begin; i < piece.end; ++i) {
    const size_t at = parameter.offset + i * parameter.stride;
    MuonStep(options_.muon, rate_scale * options_.muon_rate, parameter.rows, parameter.cols,
             gradient + at, gradient_scale, first_.data() + at, weights + at, scratch);
  }
}

}  // namespace tessera::trainer
