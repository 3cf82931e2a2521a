#include "services/router/balance/cost_model.h"

#include <cmath>
#include <optional>
#include <utility>

namespace tessera::router {
namespace {

constexpr size_t kAnswersMin = 64;
constexpr size_t kTerms = 3;
using Row = std::array<double, kTerms + 1>;
using Terms = std::array<bool, kTerms>;  // that are fitted

// Gaussian elimination with pivoting of the terms in `used`; others are 0. Nothing: they do not
// determine each other (the pivots fall below a millionth of what they began with).
std::optional<std::array<double, kTerms>> Solve(
    const std::array<std::array<double, kTerms>, kTerms>& products,
    const std::array<double, kTerms>& with_time, const Terms& used) {
  std::array<Row, kTerms> rows = {};
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) {
      rows[i][j] = used[i] && used[j] ? products[i][j] : static_cast<double>(i == j);
    }
    rows[i][kTerms] = used[i] ? with_time[i] : 0;
  }
  for (size_t column = 0; column < kTerms; ++column) {
    const double scale = used[column] ? products[column][column] : 1;
    size_t pivot = column;
    for (size_t i = column + 1; i < kTerms; ++i) {
      if (std::abs(rows[i][column]) > std::abs(rows[pivot][column])) pivot = i;
    }
    if (std::abs(rows[pivot][column]) <= 1e-6 * scale) return std::nullopt;
    std::swap(rows[pivot], rows[column]);
    for (size_t i = 0; i < kTerms; ++i) {
      if (i == column) continue;
      const double factor = rows[i][column] / rows[column][column];
      for (size_t j = column; j <= kTerms; ++j) rows[i][j] -= factor * rows[column][j];
    }
  }
  std::array<double, kTerms> solution;
  for (size_t i = 0; i < kTerms; ++i) solution[i] = rows[i][kTerms] / rows[i][i];
  return solution;
}

}  // namespace

CostFit::CostFit(double window) : kept_(std::exp(-1.0 / window)) {}

void CostFit::Moments::Fade(double kept) {
  for (size_t i = 0; i < kTerms; ++i) {
    for (double& product : products[i]) product *= kept;
    with_time[i] *= kept;
  }
}

void CostFit::Moments::Add(const Moments& more) {
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) products[i][j] += more.products[i][j];
    with_time[i] += more.with_time[i];
  }
}

bool CostFit::Moments::TellApart() const {
  const auto& p = products;
  // What is left of pairs (their mean square) when the best multiple of experts is taken away.
  constexpr double kShareMin = 1e-3;
  return p[1][1] * p[2][2] - p[1][2] * p[1][2] > kShareMin * p[1][1] * p[2][2];
}

CostFit::Moments CostFit::Moments::Tied(double share) const {
  const auto& p = products;
  const double with_one = p[0][1] + share * p[0][2];
  Moments tied;
  tied.products[0] = {p[0][0], with_one, 0};
  tied.products[1] = {with_one, p[1][1] + 2 * share * p[1][2] + share * share * p[2][2], 0};
  tied.with_time = {with_time[0], with_time[1] + share * with_time[2], 0};
  return tied;
}

void CostFit::Observe(double experts, double pairs, double compute_us) {
  const std::array<double, kTerms> terms = {1, experts, pairs};
  pending_.Fade(kept_);
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) pending_.products[i][j] += terms[i] * terms[j];
    pending_.with_time[i] += terms[i] * compute_us;
  }
  pending_kept_ *= kept_;
  ++pending_count_;
}

void CostFit::Fold() {
  if (pending_count_ == 0) return;
  {
    absl::MutexLock lock(&mutex_);
    moments_.Fade(pending_kept_);
    moments_.Add(pending_);
    count_ += pending_count_;
  }
  pending_ = {};
  pending_kept_ = 1;
  pending_count_ = 0;
}

CostModel CostFit::Fit() const {
  Moments moments;
  {
    absl::MutexLock lock(&mutex_);
    if (count_ < kAnswersMin) return {};
    moments = moments_;
  }
  const bool told_apart = moments.TellApart();
  constexpr double kShare = CostModel{}.row_us / CostModel{}.touch_us;
  if (!told_apart) moments = moments.Tied(kShare);
  // The fullest model whose coefficients are all positive; of two, the one that keeps touch_us.
  constexpr std::array<Terms, 6> kWays = {{{true, true, true},
                                           {false, true, true},
                                           {true, true, false},
                                           {true, false, true},
                                           {false, true, false},
                                           {false, false, true}}};
  for (const Terms& used : kWays) {
    const auto solution = Solve(moments.products, moments.with_time, used);
    if (!solution) continue;
    bool positive = true;
    for (size_t i = 0; i < kTerms; ++i) positive = positive && (!used[i] || (*solution)[i] > 0);
    if (!positive) continue;
    const auto [call_us, touch_us, row_us] = *solution;
    return {call_us, touch_us, told_apart ? row_us : kShare * touch_us, true};
  }
  return {};
}

}  // namespace tessera::router
