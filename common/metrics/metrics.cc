#include "common/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>

namespace tessera {

void Counter::Increment(double by) {
  if (metric_ != nullptr) metric_->Increment(by);
}
double Counter::value() const { return metric_ == nullptr ? 0.0 : metric_->Value(); }

void Gauge::Set(double value) {
  if (metric_ != nullptr) metric_->Set(value);
}
void Gauge::Add(double by) {
  if (metric_ != nullptr) metric_->Increment(by);
}
double Gauge::value() const { return metric_ == nullptr ? 0.0 : metric_->Value(); }

void Histogram::Observe(double value) {
  if (metric_ != nullptr) metric_->Observe(value);
}

void Histogram::ObserveAll(const std::vector<double>& counts, double sum) {
  if (metric_ != nullptr) metric_->ObserveMultiple(counts, sum);
}

void HistogramTally::Observe(double value) {
  if (counts_.empty()) return;
  has_pending_ = true;
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  ++counts_[static_cast<size_t>(bucket)];
  sum_ += value;
}

void HistogramTally::Commit() {
  if (!std::exchange(has_pending_, false)) return;
  histogram_.ObserveAll(counts_, std::exchange(sum_, 0));
  std::fill(counts_.begin(), counts_.end(), 0.0);
}

// Merge: adding a family again gives the one that is there.
Registry::Registry()
    : registry_(
          std::make_shared<prometheus::Registry>(prometheus::Registry::InsertBehavior::Merge)) {}
Registry::~Registry() = default;

Counter Registry::AddCounter(const std::string& name, const std::string& help,
                             const Labels& labels) {
  return Counter(
      &prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(labels));
}

Gauge Registry::AddGauge(const std::string& name, const std::string& help, const Labels& labels) {
  return Gauge(&prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(labels));
}

Histogram Registry::AddHistogram(const std::string& name, const std::string& help,
                                 const std::vector<double>& bounds, const Labels& labels) {
  return Histogram(
      &prometheus::BuildHistogram().Name(name).Help(help).Register(*registry_).Add(labels, bounds));
}

void Registry::BeforeText(std::function<void()> refresh) {
  absl::MutexLock lock(&mutex_);
  refreshes_.push_back(std::move(refresh));
}

std::string Registry::Text(const MetricAliases& aliases) const {
  {
    absl::MutexLock lock(&mutex_);
    for (const std::function<void()>& refresh : refreshes_) refresh();
  }
  std::vector<prometheus::MetricFamily> families = registry_->Collect();
  const size_t own = families.size();
  for (const auto& [here, there] : aliases.names) {
    const auto end = families.begin() + static_cast<ptrdiff_t>(own);
    const auto found = std::find_if(
        families.begin(), end, [&name = here](const auto& family) { return family.name == name; });
    if (found == end) continue;
    prometheus::MetricFamily copy = *found;
    copy.name = there;
    for (prometheus::ClientMetric& metric : copy.metric) {
      for (const auto& [name, value] : aliases.labels) metric.label.push_back({name, value});
    }
    families.push_back(std::move(copy));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace tessera
