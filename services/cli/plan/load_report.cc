#include "services/cli/plan/load_report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/json/json.h"

namespace tessera::cli {
namespace {

using router::BalanceMove;
using router::BalancePlan;

constexpr std::string_view kShardPrefix = "expert-";

absl::StatusOr<LoadReport::Layer> ReadLayer(const JsonValue& value) {
  LoadReport::Layer layer;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue index, value.Member("layer"));
  TESSERA_ASSIGN_OR_RETURN(layer.layer, index.AsUnsigned(0, 4095));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue rows, value.Member("rows"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, rows.AsArray());
  for (const JsonValue row : elements) {
    TESSERA_ASSIGN_OR_RETURN(const double number, row.AsNumber());
    if (number < 0) return row.Unexpected("a number of rows");
    layer.rows.push_back(number);
  }
  if (layer.rows.empty() || layer.rows.size() > 65536) return rows.Unexpected("1..65536 experts");
  return layer;
}

absl::StatusOr<LoadReport::Shard> ReadShard(const JsonValue& value) {
  LoadReport::Shard shard;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue id, value.Member("id"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view name, id.AsString());
  shard.id = std::string(name);
  TESSERA_ASSIGN_OR_RETURN(const JsonValue state, value.Member("state"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view word, state.AsString());
  shard.state = std::string(word);
  if (const auto rows = value.Find("rows")) {
    TESSERA_ASSIGN_OR_RETURN(shard.rows, rows->AsNumber());
  }
  if (const auto busy = value.Find("busy_ratio"); busy && !busy->is_null()) {
    TESSERA_ASSIGN_OR_RETURN(shard.busy_ratio, busy->AsNumber());
  }
  return shard;
}

// Ascending.
absl::StatusOr<std::vector<ShardId>> LiveShards(const LoadReport& report) {
  std::vector<ShardId> live;
  for (const LoadReport::Shard& shard : report.shards) {
    if (shard.state != "live") continue;
    uint32_t number = 0;
    const std::string_view id = shard.id;
    const char* const end = id.data() + id.size();
    const size_t digits = std::min(kShardPrefix.size(), id.size());
    const auto read = std::from_chars(id.data() + digits, end, number);
    if (!id.starts_with(kShardPrefix) || read.ec != std::errc() || read.ptr != end) {
      return absl::InvalidArgumentError(
          absl::StrCat("shard '", shard.id, "': expected an id like expert-0"));
    }
    live.push_back(ShardId{number});
  }
  std::ranges::sort(live);
  if (const auto twice = std::ranges::adjacent_find(live); twice != live.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard expert-", ToIndex(*twice), " is named twice"));
  }
  return live;
}

std::string Line(const char* kind, uint64_t layer, uint64_t expert, const std::string& way) {
  return absl::StrFormat("  %-4s layer %d expert %d %s\n", kind, layer, expert, way);
}

}  // namespace

absl::StatusOr<LoadReport> ReadLoadReport(const std::string& json) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(json));
  LoadReport report;
  if (const auto window = document.root().Find("window_seconds")) {
    TESSERA_ASSIGN_OR_RETURN(report.window_seconds, window->AsNumber());
  }
  TESSERA_ASSIGN_OR_RETURN(const JsonValue layers, document.root().Member("layers"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements layer_list, layers.AsArray());
  for (const JsonValue value : layer_list) {
    TESSERA_ASSIGN_OR_RETURN(LoadReport::Layer layer, ReadLayer(value));
    if (!report.layers.empty() && (report.layers.back().layer >= layer.layer ||
                                   report.layers.back().rows.size() != layer.rows.size())) {
      return value.Unexpected("ascending layers with as many experts as the first");
    }
    report.layers.push_back(std::move(layer));
  }
  TESSERA_ASSIGN_OR_RETURN(const JsonValue shards, document.root().Member("shards"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements shard_list, shards.AsArray());
  for (const JsonValue value : shard_list) {
    TESSERA_ASSIGN_OR_RETURN(LoadReport::Shard shard, ReadShard(value));
    report.shards.push_back(std::move(shard));
  }
  return report;
}

absl::StatusOr<BalancePlan> PlanFor(const LoadReport& report, const LoadAssumptions& assumptions) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<ShardId> live, LiveShards(report));
  if (live.empty() || report.layers.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("the report names ", live.size(),
                                                      " live shards and ", report.layers.size(),
                                                      " layers; there is nothing to balance"));
  }
  router::BalanceProblem problem;
  const size_t experts = report.layers.front().rows.size();
  problem.shape = {report.layers.back().layer + size_t{1}, experts};
  problem.cost.resize(problem.shape.layer_count * experts);
  const size_t copies = std::clamp<size_t>(assumptions.copies, 1, live.size());
  double rows = 0;
  std::vector<size_t> held(live.size());
  for (const LoadReport::Layer& layer : report.layers) {
    for (uint32_t e = 0; e < experts; ++e) {
      problem.cost[layer.layer * experts + e] = layer.rows[e];
      rows += layer.rows[e];
      for (size_t c = 0; c < copies; ++c) {
        const size_t place = (size_t{e} * live.size() / experts + c) % live.size();
        problem.copies.push_back({LayerIndex{layer.layer}, ExpertId{e}, live[place]});
        ++held[place];
      }
    }
  }
  if (rows <= 0) {
    return absl::FailedPreconditionError(
        "no rows in the window: send some requests, then ask again");
  }
  for (size_t place = 0; place < live.size(); ++place) {
    const double slots =
        std::ceil(static_cast<double>(held[place]) * (1 + assumptions.spare_slots));
    problem.shards.push_back({.shard = live[place], .slot_count = static_cast<uint32_t>(slots)});
  }
  return router::PlanBalance(problem, {.loads_max = assumptions.loads_max});
}

std::string DescribePlan(const BalancePlan& plan, size_t moves_max) {
  std::string text = absl::StrFormat(
      "balance (mean / max load of shards, per layer, averaged): %.3f now, %.3f after\n"
      "%d changes, %d experts to load; experts' part of a step %.0f %% faster\n",
      plan.before, plan.after, plan.moves.size(), plan.loads, 100 * plan.gain());
  for (size_t i = 0; i < std::min(moves_max, plan.moves.size()); ++i) {
    const BalanceMove& move = plan.moves[i];
    const auto from = absl::StrCat("from expert-", ToIndex(move.from));
    const auto to = absl::StrCat("to expert-", ToIndex(move.to));
    const bool copies = move.kind == BalanceMove::Kind::kCopy;
    const bool drops = move.kind == BalanceMove::Kind::kDrop;
    absl::StrAppend(&text, Line(copies  ? "copy"
                                : drops ? "drop"
                                        : "move",
                                ToIndex(move.layer), ToIndex(move.expert),
                                copies  ? to
                                : drops ? from
                                        : absl::StrCat(from, " ", to)));
  }
  if (plan.moves.size() > moves_max) {
    absl::StrAppend(&text, "  ... and ", plan.moves.size() - moves_max, " more (--moves=N)\n");
  }
  return text;
}

absl::StatusOr<uint64_t> LooksOf(const std::string& json) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(json));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue looks, document.root().Member("looks"));
  return looks.AsUnsigned();
}

absl::StatusOr<std::string> DescribeBalance(const std::string& json, size_t moves_max) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(json));
  const JsonValue root = document.root();
  TESSERA_ASSIGN_OR_RETURN(const JsonValue verdict, root.Member("verdict"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view word, verdict.AsString());
  BalancePlan plan;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue before, root.Member("balance"));
  TESSERA_ASSIGN_OR_RETURN(plan.before, before.AsNumber());
  TESSERA_ASSIGN_OR_RETURN(const JsonValue after, root.Member("planned"));
  TESSERA_ASSIGN_OR_RETURN(plan.after, after.AsNumber());
  TESSERA_ASSIGN_OR_RETURN(const JsonValue loads, root.Member("loads"));
  TESSERA_ASSIGN_OR_RETURN(plan.loads, loads.AsUnsigned());
  TESSERA_ASSIGN_OR_RETURN(const JsonValue moves, root.Member("moves"));
  for (const JsonValue value : moves.elements()) {
    BalanceMove& move = plan.moves.emplace_back();
    TESSERA_ASSIGN_OR_RETURN(const JsonValue kind, value.Member("kind"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view name, kind.AsString());
    move.kind = name == "copy"   ? BalanceMove::Kind::kCopy
                : name == "move" ? BalanceMove::Kind::kMove
                                 : BalanceMove::Kind::kDrop;
    const auto number = [&](const char* key) -> uint32_t {
      const auto member = value.Find(key);
      const auto read = member ? member->AsUnsigned(0, UINT32_MAX) : absl::StatusOr<uint64_t>(0);
      return read.ok() ? static_cast<uint32_t>(*read) : 0;
    };
    move.layer = LayerIndex{number("layer")};
    move.expert = ExpertId{number("expert")};
    move.from = ShardId{number("from")};
    move.to = ShardId{number("to")};
  }
  return absl::StrCat("the router's balancer says: ", std::string(word), "\n",
                      DescribePlan(plan, moves_max));
}

}  // namespace tessera::cli
