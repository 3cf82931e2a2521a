#include "common/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

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

std::string Registry::Text() const {
  return prometheus::TextSerializer().Serialize(registry_->Collect());
}

}  // namespace tessera
