#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::router {

// How calls to expert shards are made, and what is done when one does not come back.
struct DispatchConfig {
  // Shards answer one unsummed row per pair, added here in ascending expert id.
  bool strict = false;

  // A call is late after max(timeout_floor, timeout_factor x p99 of that shard's recent calls of
  // that size), twice as much with each further attempt.
  absl::Duration timeout_floor = absl::Milliseconds(50);  // > 0
  double timeout_factor = 4;                              // >= 1
  // The same for a shard nobody has called yet: the first touch of weights may come from a disk.
  absl::Duration timeout_unknown = absl::Seconds(1);  // > 0

  // A second copy goes to an idle replica when the first is slower than p99 and than this.
  absl::Duration hedge_after_min = absl::Milliseconds(5);  // > 0
  double hedge_share_max = 0.05;                           // of all calls; 0: no hedging
  uint64_t hedge_samples_min = 32;  // calls of a shard before its p99 means anything

  // Retries that cost a shard work a second time are paid from a budget.
  double retry_share = 0.1;                                // earned by every call, once
  double retries_saved_max = 20;                           // what can be saved up; also the start
  absl::Duration retry_pause = absl::Milliseconds(20);     // before a retry the budget lacks
  uint32_t attempts_max = 16;                              // of one call, the first included; >= 1
  absl::Duration exchange_timeout = absl::Seconds(30);     // one layer, all shards; > 0
  absl::Duration homeless_wait = absl::Milliseconds(250);  // for an expert that nobody holds
  // A call that is late for so long while no other shard holds its experts: others are to load
  // them.
  absl::Duration relocate_after = absl::Milliseconds(250);  // > 0
  // Late for so long without anybody left who might answer: the step is given up, so that rows
  // that do not need the call go on without it. A call that was given up once is not late before
  // twice the time it was waited for, or this, or its first timeout if that is longer; so a shard
  // that lives and does not answer holds a step for 2 x late_max, or late_max beyond that timeout.
  absl::Duration late_max = absl::Seconds(5);  // > 0

  // A shard that was late is given only what no other holds, for so long or until it answers.
  absl::Duration suspicion = absl::Seconds(1);
  uint32_t breaker_failures = 5;  // in a row, then it is given nothing; >= 1
  absl::Duration breaker_pause = absl::Milliseconds(500);  // before it is probed; doubles
  absl::Duration breaker_pause_max = absl::Seconds(8);     // up to this
  absl::Duration credit_poll = absl::Milliseconds(2);      // between looks for a free slot; > 0
  // Before an overloaded shard is asked again; doubles with each attempt.
  absl::Duration overloaded_pause = absl::Milliseconds(2);

  // kInvalidArgument naming the field.
  absl::Status Validate() const;
};

}  // namespace tessera::router
