#pragma once

#include <algorithm>

namespace tessera::router {

// A share of all calls that may be spent on extra ones (retries, hedges), so that a bad hour does
// not bury the shards under repetitions. Like RetryBudget, without its lock: owned by the engine
// thread.
class CallBudget {
 public:
  CallBudget(double share, double saved_max, double start)
      : share_(share), saved_max_(saved_max), left_(start) {}

  // For every call made.
  void Earn() { left_ = std::min(saved_max_, left_ + share_); }
  // False: spent.
  bool TryTake() {
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  const double share_;
  const double saved_max_;
  double left_;
};

}  // namespace tessera::router
