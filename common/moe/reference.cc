#include "common/moe/reference.h"

#include <cmath>
#include <vector>

#include "common/base/check.h"

namespace tessera {
namespace {

template <typename A, typename B>
double Dot(std::span<const A> a, std::span<const B> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

void ExpertReference(const ExpertMatrices& expert, std::span<const float> x, std::span<double> y) {
  std::vector<double> inner(expert.gate.rows());
  for (size_t i = 0; i < inner.size(); ++i) {
    const double gate = Dot(expert.gate.row(i), x);
    inner[i] = gate / (1.0 + std::exp(-gate)) * Dot(expert.up.row(i), x);
  }
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = Dot(expert.down.row(i), std::span<const double>(inner));
  }
}

void MoeReference(const Routed& routed, absl::FunctionRef<ExpertMatrices(ExpertId)> expert_of,
                  MatrixView out) {
  TESSERA_CHECK(out.rows() == routed.rows.rows() && out.cols() == routed.rows.cols());
  std::vector<double> sum(out.cols());
  std::vector<double> y(out.cols());
  for (size_t row = 0; row < routed.routing.rows; ++row) {
    const auto experts = routed.routing.experts_of(row);
    const auto weights = routed.routing.weights_of(row);
    std::fill(sum.begin(), sum.end(), 0.0);
    for (size_t k = 0; k < experts.size(); ++k) {
      ExpertReference(expert_of(ExpertId{experts[k]}), routed.rows.row(row), y);
      for (size_t i = 0; i < y.size(); ++i) sum[i] += weights[k] * y[i];
    }
    for (size_t i = 0; i < sum.size(); ++i) out.row(row)[i] = static_cast<float>(sum[i]);
  }
}

}  // namespace tessera
