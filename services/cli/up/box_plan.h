#pragma once

// How a cluster on one box is cut: how many shards, how many threads each.

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace tessera::cli {

struct BoxPlan {
  size_t shards = 1;
  size_t replicas = 1;
  size_t router_threads = 1;
  size_t shard_threads = 1;  // of each
};

// What is asked for; 0 leaves the choice to PlanBox.
struct BoxWishes {
  size_t shards = 0;
  size_t replicas = 1;
  size_t threads = 0;  // of every process
};

// "auto" is 0; else a number from 1 to 256. kInvalidArgument.
absl::StatusOr<size_t> ParseShards(const std::string& text);

// `cpus` may be used, in `numa_nodes` groups of equal memory.
//
// One shard below 4 CPUs: with two, the one woken first takes the router's core before the second
// call is posted, and both run in turn (measured: 130 us a layer instead of 20). Above, a shard for
// each memory node, at least 2, so that the loss of one leaves another to load its experts; never
// fewer than replicas. Router and shards compute in turn, so the router has every CPU; shards
// compute at the same time and share them.
//   kInvalidArgument  replicas are 0 or more than the shards asked for; threads over 4096
absl::StatusOr<BoxPlan> PlanBox(const BoxWishes& wishes, size_t cpus, size_t numa_nodes);

// Memory nodes with CPUs of this box; at least 1.
size_t NumaNodeCount(const std::string& root = "/");

}  // namespace tessera::cli
