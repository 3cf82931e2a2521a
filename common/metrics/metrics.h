#pragma once

// Counters, gauges and histograms that Prometheus reads. Handles are made once, in constructors,
// from a registry that is passed in; they are cheap to copy and thread-safe to use.
//
//   Registry registry;
//   Counter steps = registry.AddCounter("tessera_router_steps_total", "Steps committed.");
//   steps.Increment();
//
// Names: tessera_<place>_<what>_<unit>, counters end in _total, units are base units (seconds,
// bytes).

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace tessera {

// Only goes up. A handle without a metric (default-constructed) does nothing.
class Counter {
 public:
  Counter() = default;
  void Increment(double by = 1.0);  // by >= 0
  double value() const;

 private:
  friend class Registry;
  explicit Counter(prometheus::Counter* metric) : metric_(metric) {}
  prometheus::Counter* metric_ = nullptr;
};

// A value that goes up and down.
class Gauge {
 public:
  Gauge() = default;
  void Set(double value);
  void Add(double by);  // below 0: down
  double value() const;

 private:
  friend class Registry;
  explicit Gauge(prometheus::Gauge* metric) : metric_(metric) {}
  prometheus::Gauge* metric_ = nullptr;
};

// How often values fell below each of its bounds.
class Histogram {
 public:
  Histogram() = default;
  void Observe(double value);
  // So many values in each bucket, +Inf's included, and the sum of them all. One lock for all.
  void ObserveAll(const std::vector<double>& counts, double sum);

 private:
  friend class Registry;
  explicit Histogram(prometheus::Histogram* metric) : metric_(metric) {}
  prometheus::Histogram* metric_ = nullptr;
};

// What one thread adds to a metric many times between two looks of anybody else's: Add and Observe
// touch plain numbers of this object, Commit hands them over. Thread-compatible; what is not
// committed is lost.
class CounterTally {
 public:
  CounterTally() = default;
  explicit CounterTally(Counter counter) : counter_(counter) {}
  void Add(double by = 1.0) { pending_ += by; }  // by >= 0
  void Commit() {
    if (pending_ > 0) counter_.Increment(std::exchange(pending_, 0));
  }

 private:
  Counter counter_;
  double pending_ = 0;
};

class HistogramTally {
 public:
  HistogramTally() = default;
  // `bounds`: those the histogram was made with.
  HistogramTally(Histogram histogram, const std::vector<double>& bounds)
      : histogram_(histogram), bounds_(bounds), counts_(bounds.size() + 1) {}
  void Observe(double value);
  void Commit();

 private:
  Histogram histogram_;
  std::vector<double> bounds_;
  std::vector<double> counts_;  // [bounds + 1]
  double sum_ = 0;
  bool has_pending_ = false;
};

// Families that are written a second time under another name, for dashboards that know that one.
struct MetricAliases {
  std::vector<std::pair<std::string, std::string>> names;  // of a family here, and there
  std::map<std::string, std::string> labels;               // added to every series of them
};

// Owns all metrics of a service; handles must not outlive it. Thread-safe.
class Registry {
 public:
  using Labels = std::map<std::string, std::string>;

  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // The same name with other labels is another series of one family; the same name and labels give
  // the same metric again. A name Prometheus would not accept, or one that was added as another
  // kind, is a bug.
  Counter AddCounter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge AddGauge(const std::string& name, const std::string& help, const Labels& labels = {});
  // bounds: ascending upper bounds of the buckets; the last bucket, +Inf, comes by itself.
  Histogram AddHistogram(const std::string& name, const std::string& help,
                         const std::vector<double>& bounds, const Labels& labels = {});

  // Called before every Text, one Text at a time: for what is cheaper to look up than to keep up to
  // date. What it refers to must not go while somebody may ask for Text.
  void BeforeText(std::function<void()> refresh);

  // Everything in Prometheus' text format, version 0.0.4.
  std::string Text(const MetricAliases& aliases = {}) const;

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::function<void()>> refreshes_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<prometheus::Registry> registry_;
};

}  // namespace tessera
