#include "services/cli/observe/expert_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/json/json.h"

namespace tessera::cli {
namespace {

absl::StatusOr<std::vector<int64_t>> CountsOf(const JsonValue& value) {
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, value.AsArray());
  std::vector<int64_t> counts;
  for (const JsonValue element : elements) {
    TESSERA_ASSIGN_OR_RETURN(counts.emplace_back(), element.AsInteger(/*min=*/0));
  }
  return counts;
}

absl::StatusOr<ExpertLoad::Layer> LayerOf(const JsonValue& value) {
  ExpertLoad::Layer layer;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue number, value.Member("layer"));
  TESSERA_ASSIGN_OR_RETURN(layer.layer, number.AsInteger(/*min=*/0));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue rows, value.Member("rows"));
  TESSERA_ASSIGN_OR_RETURN(layer.rows, CountsOf(rows));
  return layer;
}

absl::StatusOr<ExpertLoad::Shard> ShardOf(const JsonValue& value) {
  ExpertLoad::Shard shard;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue id, value.Member("id"));
  TESSERA_ASSIGN_OR_RETURN(shard.id, id.AsString());
  TESSERA_ASSIGN_OR_RETURN(const JsonValue state, value.Member("state"));
  TESSERA_ASSIGN_OR_RETURN(shard.state, state.AsString());
  TESSERA_ASSIGN_OR_RETURN(const JsonValue rows, value.Member("rows"));
  TESSERA_ASSIGN_OR_RETURN(shard.rows, rows.AsInteger(/*min=*/0));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue busy, value.Member("busy_ratio"));
  TESSERA_ASSIGN_OR_RETURN(shard.busy_ratio, busy.AsNumber());
  if (const auto layer_rows = value.Find("layer_rows")) {
    TESSERA_ASSIGN_OR_RETURN(shard.layer_rows, CountsOf(*layer_rows));
  }
  return shard;
}

absl::StatusOr<ExpertLoad::Router> RouterOf(const JsonValue& value) {
  ExpertLoad::Router router;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue id, value.Member("id"));
  TESSERA_ASSIGN_OR_RETURN(router.id, id.AsString());
  const auto read = [&value](const char* name, int64_t& count) -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const JsonValue number, value.Member(name));
    TESSERA_ASSIGN_OR_RETURN(count, number.AsInteger(/*min=*/0));
    return absl::OkStatus();
  };
  TESSERA_RETURN_IF_ERROR(read("generation_tokens", router.generation_tokens));
  TESSERA_RETURN_IF_ERROR(read("prompt_tokens", router.prompt_tokens));
  TESSERA_RETURN_IF_ERROR(read("sequences_running", router.sequences_running));
  TESSERA_RETURN_IF_ERROR(read("sequences_waiting", router.sequences_waiting));
  return router;
}

}  // namespace

absl::StatusOr<ExpertLoad> ParseExpertLoad(std::string_view json) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(json));
  const JsonValue root = document.root();
  ExpertLoad load;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue window, root.Member("window_seconds"));
  TESSERA_ASSIGN_OR_RETURN(load.window_seconds, window.AsNumber());
  TESSERA_ASSIGN_OR_RETURN(const JsonValue layers, root.Member("layers"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements layer_list, layers.AsArray());
  for (const JsonValue layer : layer_list) {
    TESSERA_ASSIGN_OR_RETURN(load.layers.emplace_back(), LayerOf(layer));
  }
  TESSERA_ASSIGN_OR_RETURN(const JsonValue shards, root.Member("shards"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements shard_list, shards.AsArray());
  for (const JsonValue shard : shard_list) {
    TESSERA_ASSIGN_OR_RETURN(load.shards.emplace_back(), ShardOf(shard));
  }
  if (const auto routers = root.Find("routers")) {
    TESSERA_ASSIGN_OR_RETURN(const JsonElements router_list, routers->AsArray());
    for (const JsonValue router : router_list) {
      TESSERA_ASSIGN_OR_RETURN(load.routers.emplace_back(), RouterOf(router));
    }
  }
  return load;
}

std::optional<int64_t> GrowthOf(int64_t ExpertLoad::Router::*count, const ExpertLoad& now,
                                const ExpertLoad& before) {
  std::optional<int64_t> growth;
  for (const ExpertLoad::Router& router : now.routers) {
    const auto earlier = std::ranges::find(before.routers, router.id, &ExpertLoad::Router::id);
    if (earlier == before.routers.end()) continue;
    // Two gateways may tell what is a little old in the wrong order.
    growth = growth.value_or(0) + std::max<int64_t>(0, router.*count - (*earlier).*count);
  }
  return growth;
}

bool IsAtWork(std::string_view state) { return state != "lost" && state != "unreachable"; }

std::vector<int64_t> ShardRowsOf(const ExpertLoad& load, size_t place) {
  std::vector<int64_t> rows;
  for (const ExpertLoad::Shard& shard : load.shards) {
    if (!IsAtWork(shard.state)) continue;
    if (place >= shard.layer_rows.size()) return {};
    rows.push_back(shard.layer_rows[place]);
  }
  return rows;
}

std::vector<size_t> HeatOf(const std::vector<int64_t>& rows, size_t width_max, size_t levels) {
  if (rows.empty() || width_max == 0) return {};
  const auto most = static_cast<double>(*std::max_element(rows.begin(), rows.end()));
  const size_t width = std::min(rows.size(), width_max);
  std::vector<size_t> heat(width);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == 0) continue;
    // Upwards: only an expert without a row is cold.
    const double level =
        std::ceil(static_cast<double>(rows[i]) / most * static_cast<double>(levels));
    size_t& cell = heat[i * width / rows.size()];
    cell = std::max(cell, static_cast<size_t>(level));
  }
  return heat;
}

double MeanToMax(const std::vector<int64_t>& rows) {
  const auto sum = static_cast<double>(std::accumulate(rows.begin(), rows.end(), int64_t{0}));
  if (sum == 0) return 0;
  const auto most = static_cast<double>(*std::max_element(rows.begin(), rows.end()));
  return sum / (static_cast<double>(rows.size()) * most);
}

std::string DrawExpertLoad(const ExpertLoad& load) {
  std::string text;
  for (const ExpertLoad::Layer& layer : load.layers) {
    std::string signs;
    for (const size_t level : HeatOf(layer.rows, layer.rows.size(), kHeatSigns.size() - 1)) {
      signs.push_back(kHeatSigns[level]);
    }
    absl::StrAppendFormat(&text, "%4d |%s| %.2f\n", layer.layer, signs, MeanToMax(layer.rows));
  }
  for (const ExpertLoad::Shard& shard : load.shards) {
    absl::StrAppendFormat(&text, "%s %s, %d rows in %g s, busy %.0f %%\n", shard.id, shard.state,
                          shard.rows, load.window_seconds, shard.busy_ratio * 100);
  }
  return text;
}

}  // namespace tessera::cli
