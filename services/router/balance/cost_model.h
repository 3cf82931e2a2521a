#pragma once

// What a call costs a shard, learnt from the answers.
//
//   compute_us = call_us + touch_us * distinct experts + row_us * pairs
//
// An expert's weights are read once a call however many rows it gets, so at decode sizes touch_us
// decides (alpha of the balancer), at prefill sizes row_us (beta).

#include <array>
#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/router/tally/answered_call.h"

namespace tessera::router {

struct CostModel {
  double call_us = 0;
  // Before anything was measured, and while it cannot be told apart: an expert's weights cost as
  // much as four rows.
  double touch_us = 4;
  double row_us = 1;
  bool fitted = false;
};

// Least squares over answers that fade: the last `window` weigh most. Coefficients below zero mean
// nothing, so whichever would be is left out and the others are fitted without it. Answers that had
// as many pairs as experts, those of single sequences, do not tell the two apart: while nearly all
// are such, both follow from their sum.
class CostFit {
 public:
  explicit CostFit(double window = 10'000);

  // Owned by the engine thread; Observe does not lock.

  // One answer of a call that had the shard's batch to itself; of others nothing is learnt.
  void Observe(const AnsweredCall& call) {
    if (call.alone) Observe(call.experts, call.pairs, call.compute_us);
  }
  void Observe(double experts, double pairs, double compute_us);
  // Fit knows what was observed so far. Once a step.
  void Fold();

  // Thread-safe. The default model until 64 answers are known.
  CostModel Fit() const;

 private:
  // Weighted sums of products of (1, experts, pairs), and of those with compute_us.
  struct Moments {
    std::array<std::array<double, 3>, 3> products = {};
    std::array<double, 3> with_time = {};

    // The weight of what is in here becomes `kept` times what it was.
    void Fade(double kept);
    void Add(const Moments& more);
    // Whether pairs are more than a multiple of experts, and not just by a few answers' noise.
    bool TellApart() const;
    // Those of (1, experts + share * pairs, 0).
    Moments Tied(double share) const;
  };
  const double kept_;  // weight of the past after one more answer

  // The engine thread's: answers since the last Fold.
  Moments pending_;
  double pending_kept_ = 1;  // weight of the past after them
  size_t pending_count_ = 0;

  mutable absl::Mutex mutex_;
  Moments moments_ ABSL_GUARDED_BY(mutex_);
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tessera::router
