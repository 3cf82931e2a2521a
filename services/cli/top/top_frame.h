#pragma once

// One picture of a running cluster as lines of text: what `tessera top` shows.

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "absl/time/time.h"
#include "services/cli/observe/expert_load.h"
#include "services/cli/observe/metrics_text.h"

namespace tessera::cli {

// What a gateway told at one moment.
struct ClusterSight {
  std::string address;             // of the gateway
  std::string model;               // the first it serves; empty: unknown
  std::string not_ready;           // why it takes no work; empty: it does
  absl::Duration looked_at;        // Clock::Elapsed()
  std::optional<ExpertLoad> load;  // nothing: it could not tell, see load_error
  std::string load_error;
  std::optional<MetricsText> metrics;  // nothing: not allowed or not there
};

// Mean over maximum of the rows, averaged over the layers that had any: 1 is even; 0: nothing was
// computed.
struct BalanceSight {
  double of_experts = 0;
  double of_shards = 0;  // those at work, see ShardRowsOf
};
BalanceSight BalanceOf(const ExpertLoad& load);

struct FrameStyle {
  size_t width = 80;        // columns; lines are cut there
  size_t height = 0;        // rows of a terminal, layers in the middle are left out; 0: all
  bool uses_color = false;  // ANSI colours; else signs
};

// The frame, lines ended by '\n', without moving the cursor. Rates need `before`, an earlier sight
// of the same cluster; null: they are left out. Times to tokens are those of the gateway that
// answered, since `before` if that is the one which answered then, else since its start. `trail`:
// the balance of earlier sights, the oldest first, drawn before that of `now`.
std::string DrawFrame(const ClusterSight& now, const ClusterSight* before, const FrameStyle& style,
                      std::span<const BalanceSight> trail = {});

}  // namespace tessera::cli
