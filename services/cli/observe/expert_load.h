#pragma once

// What a gateway's /v1/experts/load tells, read and drawn.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::cli {

struct ExpertLoad {
  struct Layer {
    int64_t layer = 0;
    std::vector<int64_t> rows;  // [experts]
  };
  struct Shard {
    std::string id;
    std::string state;
    int64_t rows = 0;
    double busy_ratio = 0;
    std::vector<int64_t> layer_rows;  // [layers]; empty if the gateway does not tell
  };
  struct Router {
    std::string id;                 // of its process: another one after a restart
    int64_t generation_tokens = 0;  // since it started, as the next
    int64_t prompt_tokens = 0;
    int64_t sequences_running = 0;
    int64_t sequences_waiting = 0;
  };
  double window_seconds = 0;
  std::vector<Layer> layers;
  std::vector<Shard> shards;
  std::vector<Router> routers;  // empty if the gateway does not tell
};

// kInvalidArgument names the member that is missing or wrong.
absl::StatusOr<ExpertLoad> ParseExpertLoad(std::string_view json);

// Heat of `rows` in at most `width_max` cells, each from 0 (no row) to `levels` (the busiest of the
// layer); neighbours share a cell, the busier one counts, if there are more than that.
std::vector<size_t> HeatOf(const std::vector<int64_t>& rows, size_t width_max, size_t levels);
// How much a count of routers grew from `before` to `now`, which perhaps another gateway told: that
// of the routers both have; one that began or ended meanwhile does not count. Nothing if they have
// none in common.
std::optional<int64_t> GrowthOf(int64_t ExpertLoad::Router::*count, const ExpertLoad& now,
                                const ExpertLoad& before);
// Of a shard that takes part: not "lost", not "unreachable".
bool IsAtWork(std::string_view state);
// The rows each shard at work computed in the layer at `place` of load.layers, in their order;
// empty if not all of them tell. What balance of shards is measured over.
std::vector<int64_t> ShardRowsOf(const ExpertLoad& load, size_t place);

// The mean over the largest, in (0, 1]: 1 is even. 0 if there is nothing.
double MeanToMax(const std::vector<int64_t>& rows);

// The load as lines of text: a line per layer, a sign per expert, from ' ' (no row) to '@' (the
// busiest of its layer), and behind it mean over busiest; then a line per shard.
std::string DrawExpertLoad(const ExpertLoad& load);

// The signs of DrawExpertLoad, coldest first.
inline constexpr std::string_view kHeatSigns = " .:-=+*#%@";

}  // namespace tessera::cli
