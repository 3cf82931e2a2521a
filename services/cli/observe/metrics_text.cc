#include "services/cli/observe/metrics_text.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"

namespace tessera::cli {
namespace {

double NumberOf(std::string_view text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  double value = 0;
  return absl::SimpleAtod(std::string(text), &value) ? value
                                                     : std::numeric_limits<double>::quiet_NaN();
}

// Reads name="value",... up to the closing brace; npos if it does not end.
size_t ReadLabels(std::string_view line, size_t at, std::map<std::string, std::string>& labels) {
  while (at < line.size() && line[at] != '}') {
    const size_t equals = line.find("=\"", at);
    if (equals == std::string_view::npos) return equals;
    const std::string name(line.substr(at, equals - at));
    std::string& value = labels[name];
    for (at = equals + 2; at < line.size() && line[at] != '"'; ++at) {
      if (line[at] == '\\' && at + 1 < line.size()) {
        value += line[++at] == 'n' ? '\n' : line[at];
      } else {
        value += line[at];
      }
    }
    ++at;  // the quote
    if (at < line.size() && line[at] == ',') ++at;
  }
  return at < line.size() ? at + 1 : std::string_view::npos;
}

}  // namespace

MetricsText::MetricsText(std::string_view page) {
  while (!page.empty()) {
    const std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(page.size(), line.size() + 1));
    if (line.empty() || line[0] == '#') continue;
    const size_t end = line.find_first_of("{ ");
    if (end == std::string_view::npos) continue;
    Series series;
    size_t rest = end;
    if (line[end] == '{') rest = ReadLabels(line, end + 1, series.labels);
    if (rest == std::string_view::npos) continue;
    // Behind the value there may be a time.
    const size_t value_at = line.find_first_not_of(' ', rest);
    if (value_at == std::string_view::npos) continue;
    const std::string_view value = line.substr(value_at);
    series.value = NumberOf(value.substr(0, value.find(' ')));
    if (std::isnan(series.value)) continue;
    series_.emplace(std::string(line.substr(0, end)), std::move(series));
  }
}

std::optional<double> MetricsText::Sum(const std::string& name) const {
  const auto [begin, end] = series_.equal_range(name);
  if (begin == end) return std::nullopt;
  double sum = 0;
  for (auto it = begin; it != end; ++it) sum += it->second.value;
  return sum;
}

std::vector<MetricsText::Series> MetricsText::Of(const std::string& name) const {
  std::vector<Series> found;
  const auto [begin, end] = series_.equal_range(name);
  for (auto it = begin; it != end; ++it) found.push_back(it->second);
  return found;
}

std::map<double, double> MetricsText::Buckets(const std::string& histogram) const {
  std::map<double, double> buckets;
  for (const Series& series : Of(histogram + "_bucket")) {
    const auto bound = series.labels.find("le");
    if (bound != series.labels.end()) buckets[NumberOf(bound->second)] += series.value;
  }
  return buckets;
}

std::optional<double> MetricsText::Quantile(const std::string& histogram, double share,
                                            const MetricsText* before) const {
  std::map<double, double> buckets = Buckets(histogram);
  if (before != nullptr) {
    for (const auto& [bound, count] : before->Buckets(histogram)) buckets[bound] -= count;
  }
  if (buckets.empty() || buckets.rbegin()->second <= 0) return std::nullopt;
  const double rank = share * buckets.rbegin()->second;
  double low = 0;
  double below = 0;
  for (const auto& [bound, count] : buckets) {
    if (count >= rank && count > below) {
      // Beyond the last bound nothing is known but that bound.
      if (std::isinf(bound)) return low;
      return low + (bound - low) * (rank - below) / (count - below);
    }
    low = std::isinf(bound) ? low : bound;
    below = count;
  }
  return low;
}

}  // namespace tessera::cli
