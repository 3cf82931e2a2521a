#pragma once

// A page of Prometheus' text format, read as far as a person's view needs it.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::cli {

class MetricsText {
 public:
  struct Series {
    std::map<std::string, std::string> labels;
    double value = 0;
  };

  // What is no sample line is left out.
  explicit MetricsText(std::string_view page);

  // Nothing if there is no series of this name (with "_bucket", "_sum", "_count" for histograms).
  std::optional<double> Sum(const std::string& name) const;
  std::vector<Series> Of(const std::string& name) const;
  // The value below which `share` (0..1) of a histogram's values lie, over all of its series,
  // as histogram_quantile reckons it; nothing without a value. `before`: only what came since.
  std::optional<double> Quantile(const std::string& histogram, double share,
                                 const MetricsText* before) const;

 private:
  std::map<double, double> Buckets(const std::string& histogram) const;  // bound -> count up to it

  std::multimap<std::string, Series> series_;
};

}  // namespace tessera::cli
