#include "services/cli/chat/expert_load.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"

namespace tessera::cli {
namespace {

constexpr std::string_view kSigns = " .:-=+*#%@";

using Matrix = std::vector<std::vector<double>>;

// Nothing if `value` is no array of arrays of numbers that are not negative.
std::optional<Matrix> MatrixOf(const JsonValue& value) {
  if (!value.is_array() || value.size() == 0) return std::nullopt;
  Matrix matrix;
  for (const JsonValue row : value.elements()) {
    if (!row.is_array() || row.size() == 0) return std::nullopt;
    std::vector<double>& numbers = matrix.emplace_back();
    for (const JsonValue element : row.elements()) {
      const absl::StatusOr<double> number = element.AsNumber();
      if (!number.ok() || *number < 0) return std::nullopt;
      numbers.push_back(*number);
    }
  }
  return matrix;
}

std::optional<Matrix> FindMatrix(const JsonValue& value) {
  if (auto matrix = MatrixOf(value)) return matrix;
  if (!value.is_object()) return std::nullopt;
  for (const auto [key, member] : value.members()) {
    if (auto matrix = FindMatrix(member)) return matrix;
  }
  return std::nullopt;
}

}  // namespace

std::string DrawExpertLoad(const JsonDocument& document) {
  const std::optional<Matrix> matrix = FindMatrix(document.root());
  if (!matrix.has_value()) return "";
  std::string text;
  for (size_t layer = 0; layer < matrix->size(); ++layer) {
    const std::vector<double>& row = (*matrix)[layer];
    const double most = *std::max_element(row.begin(), row.end());
    double sum = 0;
    std::string signs;
    for (const double load : row) {
      sum += load;
      // Upwards: only an expert without a token is blank.
      const double step = most > 0 ? std::ceil(load / most * (kSigns.size() - 1)) : 0;
      signs.push_back(kSigns[static_cast<size_t>(step)]);
    }
    const double mean = sum / static_cast<double>(row.size());
    absl::StrAppendFormat(&text, "%4d |%s| %.2f\n", layer, signs, mean > 0 ? most / mean : 0.0);
  }
  return text;
}

}  // namespace tessera::cli
