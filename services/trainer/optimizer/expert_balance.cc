#include "services/trainer/optimizer/expert_balance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace tessera::trainer {
namespace {

struct NamedMethod {
  std::string_view name;
  BalanceMethod method;
};
constexpr NamedMethod kMethods[] = {{"smebu", BalanceMethod::kSmebu},
                                    {"sign", BalanceMethod::kSign},
                                    {"aux", BalanceMethod::kAux},
                                    {"none", BalanceMethod::kNone}};

}  // namespace

absl::StatusOr<BalanceMethod> ParseBalanceMethod(std::string_view name) {
  for (const NamedMethod& known : kMethods) {
    if (known.name == name) return known.method;
  }
  return absl::InvalidArgumentError(absl::StrCat("balance method: found '", std::string(name),
                                                 "'; expected smebu, sign, aux or none"));
}

std::string_view NameOf(BalanceMethod method) {
  return std::ranges::find(kMethods, method, &NamedMethod::method)->name;
}

ExpertBalance::ExpertBalance(BalanceMethod method, double momentum, size_t layer_count,
                             size_t expert_count)
    : method_(method),
      momentum_(momentum),
      expert_count_(expert_count),
      bias_(layer_count * expert_count),
      velocity_(layer_count * expert_count) {}

void ExpertBalance::Update(double rate, std::span<const std::vector<uint32_t>> counts) {
  if (method_ == BalanceMethod::kAux || method_ == BalanceMethod::kNone) return;
  TESSERA_CHECK(counts.size() * expert_count_ == bias_.size());
  for (size_t layer = 0; layer < counts.size(); ++layer) {
    const size_t at = layer * expert_count_;
    UpdateLayer(rate, counts[layer], std::span(bias_).subspan(at, expert_count_),
                std::span(velocity_).subspan(at, expert_count_));
  }
}

void ExpertBalance::UpdateLayer(double rate, std::span<const uint32_t> counts,
                                std::span<float> bias, std::span<float> velocity) {
  const auto experts = static_cast<double>(counts.size());
  const double mean = std::accumulate(counts.begin(), counts.end(), 0.0) / experts;
  if (mean == 0) return;
  std::vector<double> pull(counts.size());
  for (size_t e = 0; e < counts.size(); ++e) {
    const double violation = (mean - counts[e]) / mean;
    pull[e] = method_ == BalanceMethod::kSmebu ? std::tanh(2 * violation)
                                               : (violation > 0) - (violation < 0);
  }
  const double drift = method_ == BalanceMethod::kSmebu
                           ? std::accumulate(pull.begin(), pull.end(), 0.0) / experts
                           : 0.0;
  const double keep = method_ == BalanceMethod::kSmebu ? momentum_ : 0.0;
  for (size_t e = 0; e < counts.size(); ++e) {
    velocity[e] = static_cast<float>(keep * velocity[e] + (1 - keep) * rate * (pull[e] - drift));
    bias[e] += velocity[e];
  }
}

LoadFigures FiguresOf(std::span<const uint32_t> counts) {
  LoadFigures figures;
  figures.unused = static_cast<size_t>(std::ranges::count(counts, 0u));
  const double sum = std::accumulate(counts.begin(), counts.end(), 0.0);
  if (sum == 0) return figures;
  const double mean = sum / static_cast<double>(counts.size());
  figures.mean_over_max = mean / *std::ranges::max_element(counts);
  figures.max_violation = 1 / figures.mean_over_max - 1;
  double squares = 0;
  for (const uint32_t count : counts) squares += static_cast<double>(count) * count;
  figures.jain = sum * mean / squares;
  return figures;
}

}  // namespace tessera::trainer
