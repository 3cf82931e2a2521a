#pragma once

// `tessera plan --from`: reads the load of a running cluster and says what balancing would do.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/router/balance/balance_planner.h"

namespace tessera::cli {

// GET /v1/experts/load, as far as it is needed.
struct LoadReport {
  double window_seconds = 0;
  struct Layer {
    uint32_t layer = 0;
    std::vector<double> rows;  // [experts]
  };
  std::vector<Layer> layers;  // ascending, all with as many experts
  struct Shard {
    std::string id;
    std::string state;
    double rows = 0;
    double busy_ratio = 0;
  };
  std::vector<Shard> shards;
};

// kInvalidArgument says what is missing or wrong.
absl::StatusOr<LoadReport> ReadLoadReport(const std::string& json);

// What the report does not tell and the plan needs.
struct LoadAssumptions {
  size_t copies = 1;          // of every expert
  double spare_slots = 0.25;  // of the slots the experts take, in addition
  size_t loads_max = SIZE_MAX;
};

// An estimate: the plan for these rows on the report's live shards, which are taken to hold even
// slices in their order, as a cluster begins. Shards keep the report's numbers.
// kFailedPrecondition: no live shard, or no rows in the window. kInvalidArgument: an id is not
// "expert-N", or there twice.
absl::StatusOr<router::BalancePlan> PlanFor(const LoadReport& report,
                                            const LoadAssumptions& assumptions);

// As text for people. `moves_max` of the moves are listed.
std::string DescribePlan(const router::BalancePlan& plan, size_t moves_max);

// GET /balance of a router's admin listener: what its own balancer found last, as text.
// kInvalidArgument if it is something else.
absl::StatusOr<std::string> DescribeBalance(const std::string& json, size_t moves_max);
// Of the same, how often it has looked.
absl::StatusOr<uint64_t> LooksOf(const std::string& json);

}  // namespace tessera::cli
