#include "services/cli/top/top_frame.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/utf8.h"
#include "services/cli/chat/chat_session.h"

namespace tessera::cli {
namespace {

constexpr size_t kLabelColumns = 6;     // " 12 |"
constexpr size_t kBalanceColumns = 16;  // "| 1.23 |" and "| 0.87"
constexpr size_t kShardColumnsMax = 16;
// Background colours of the 256 that terminals have, cold to hot.
constexpr std::array<int, 8> kHeatColors = {17, 19, 25, 31, 71, 142, 172, 196};
constexpr std::array<const char*, 9> kBars = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr char kPlain[] = "\x1b[0m";
constexpr char kBold[] = "\x1b[1m";
constexpr char kRed[] = "\x1b[1;31m";
constexpr char kYellow[] = "\x1b[33m";
constexpr char kGreen[] = "\x1b[32m";

// The first `columns` characters, each taken to be one column wide. Bytes that are no UTF-8 become
// U+FFFD.
std::string CutTo(size_t columns, std::string_view text) {
  std::string whole;
  AppendLossy(text, /*final=*/true, &whole);
  size_t end = 0;
  for (; columns > 0 && end < whole.size(); --columns) end += LengthOfLead(whole[end]);
  return whole.substr(0, end);
}

class Frame {
 public:
  explicit Frame(const FrameStyle& style) : style_(style) {}

  // Text of others is shown without what would move the cursor, and cut to the width; what is below
  // the height is left out.
  void Line(std::string_view text, std::string_view color = {}) {
    if (lines_left() == 0) return;
    std::string plain = PlainText(text);
    std::ranges::replace(plain, '\n', ' ');
    std::ranges::replace(plain, '\t', ' ');
    plain = CutTo(style_.width, plain);
    if (style_.uses_color && !color.empty()) {
      absl::StrAppend(&out_, std::string(color), plain, kPlain, "\n");
    } else {
      absl::StrAppend(&out_, plain, "\n");
    }
    ++lines_;
  }
  // Already as wide as it may be.
  void Raw(std::string_view text) {
    if (lines_left() == 0) return;
    absl::StrAppend(&out_, std::string(text), "\n");
    ++lines_;
  }
  size_t lines_left() const {
    return style_.height == 0 ? SIZE_MAX : style_.height - std::min(style_.height, lines_);
  }
  const FrameStyle& style() const { return style_; }
  std::string Done() { return std::move(out_); }

 private:
  const FrameStyle style_;
  std::string out_;
  size_t lines_ = 0;
};

std::string_view ColorOf(std::string_view state) {
  if (state == "live") return kGreen;
  return IsAtWork(state) ? kYellow : kRed;
}

std::optional<double> RateOf(const ClusterSight& now, const ClusterSight* before,
                             int64_t ExpertLoad::Router::*count) {
  if (before == nullptr || !now.load || !before->load) return std::nullopt;
  const double seconds = absl::ToDoubleSeconds(now.looked_at - before->looked_at);
  const auto growth = GrowthOf(count, *now.load, *before->load);
  if (!growth || seconds <= 0) return std::nullopt;
  return static_cast<double>(*growth) / seconds;
}

// Now, of all routers.
std::optional<double> SumOf(const ClusterSight& now, int64_t ExpertLoad::Router::*count) {
  if (!now.load || now.load->routers.empty()) return std::nullopt;
  double sum = 0;
  for (const ExpertLoad::Router& router : now.load->routers) {
    sum += static_cast<double>(router.*count);
  }
  return sum;
}

// What `before` told of the process that told `now`; null: it was another one.
const MetricsText* SinceOf(const ClusterSight& now, const ClusterSight* before) {
  if (before == nullptr || !now.metrics || !before->metrics) return nullptr;
  constexpr char kStart[] = "process_start_time_seconds";
  return now.metrics->Sum(kStart) == before->metrics->Sum(kStart) ? &*before->metrics : nullptr;
}

std::string Shown(const std::optional<double>& value, const char* unit, double factor = 1) {
  if (!value) return absl::StrCat("-", unit);
  const double shown = *value * factor;
  const bool short_and_broken = shown < 10 && shown != std::floor(shown);
  return absl::StrFormat("%.*f%s", short_and_broken ? 1 : 0, shown, unit);
}

void DrawHead(const ClusterSight& now, Frame& frame) {
  frame.Line(absl::StrCat("tessera ", now.address, "  ", now.model.empty() ? "?" : now.model,
                          now.not_ready.empty() ? "  ready" : "  NOT READY: ", now.not_ready),
             now.not_ready.empty() ? kBold : kRed);
}

void DrawTraffic(const ClusterSight& now, const ClusterSight* before, Frame& frame) {
  using Router = ExpertLoad::Router;
  const auto kv = now.metrics ? now.metrics->Sum("tessera_kv_cache_usage_perc") : std::nullopt;
  frame.Line(absl::StrCat("tokens/s ", Shown(RateOf(now, before, &Router::generation_tokens), ""),
                          "  prompt/s ", Shown(RateOf(now, before, &Router::prompt_tokens), ""),
                          "  running ", Shown(SumOf(now, &Router::sequences_running), ""),
                          "  waiting ", Shown(SumOf(now, &Router::sequences_waiting), ""), "  kv ",
                          Shown(kv, " %", 100)));
  if (!now.metrics) {
    frame.Line("metrics: not to be had (an admin key?)", kYellow);
    return;
  }
  const MetricsText& metrics = *now.metrics;
  const MetricsText* since = SinceOf(now, before);
  const auto quantile = [&](const char* histogram, double share) {
    return Shown(metrics.Quantile(histogram, share, since), " ms", 1000);
  };
  // One gateway's, the one that answered.
  frame.Line(absl::StrCat("queued ", Shown(metrics.Sum("tessera_num_requests_waiting"), ""),
                          "  first token p50 ",
                          quantile("tessera_time_to_first_token_seconds", 0.5), " p95 ",
                          quantile("tessera_time_to_first_token_seconds", 0.95), "  gap p50 ",
                          quantile("tessera_inter_token_latency_seconds", 0.5), " p95 ",
                          quantile("tessera_inter_token_latency_seconds", 0.95)));
}

// Half of what is left at most: the layers want their part. Shards in trouble come first then.
void DrawShards(const ExpertLoad& load, Frame& frame) {
  frame.Raw("");
  const double window = std::max(load.window_seconds, 1e-9);
  std::vector<ExpertLoad::Shard> shards = load.shards;
  const size_t room = std::max<size_t>(frame.lines_left() / 2, 1);
  const size_t shown = shards.size() <= room ? shards.size() : room - 1;
  if (shown < shards.size()) {
    std::ranges::stable_partition(shards, [](const auto& shard) { return shard.state != "live"; });
  }
  for (const ExpertLoad::Shard& shard : std::span(shards).first(shown)) {
    const auto bars = static_cast<size_t>(std::clamp(shard.busy_ratio, 0.0, 1.0) * 20 + 0.5);
    frame.Line(absl::StrFormat("%-12s %-12s [%-20s] %3.0f %% busy %9.0f rows/s", shard.id,
                               shard.state, std::string(bars, '#'), shard.busy_ratio * 100,
                               static_cast<double>(shard.rows) / window),
               ColorOf(shard.state));
  }
  if (shown < shards.size()) {
    frame.Line(absl::StrCat("... and ", shards.size() - shown, " more shards"));
  }
}

// A cell for each of `rows`, or for several of them together.
std::string HeatCells(const std::vector<int64_t>& rows, size_t columns, bool uses_color) {
  std::string cells;
  if (!uses_color) {
    for (const size_t level : HeatOf(rows, columns, kHeatSigns.size() - 1)) {
      cells += kHeatSigns[level];
    }
    return cells;
  }
  for (const size_t level : HeatOf(rows, columns, kHeatColors.size())) {
    if (level == 0) {
      absl::StrAppend(&cells, kPlain, " ");
    } else {
      absl::StrAppend(&cells, "\x1b[48;5;", kHeatColors[level - 1], "m ");
    }
  }
  return cells + kPlain;
}

std::string HeatLine(const ExpertLoad& load, size_t place, const FrameStyle& style) {
  const ExpertLoad::Layer& layer = load.layers[place];
  const std::vector<int64_t> of_shards = ShardRowsOf(load, place);
  const size_t shard_columns = std::min(of_shards.size(), kShardColumnsMax);
  const size_t taken = kLabelColumns + kBalanceColumns + shard_columns;
  const size_t room = std::max<size_t>(8, style.width - std::min(style.width, taken));
  std::string line =
      absl::StrFormat("%4d |%s| %5.2f", layer.layer, HeatCells(layer.rows, room, style.uses_color),
                      MeanToMax(layer.rows));
  if (!of_shards.empty()) {
    absl::StrAppendFormat(&line, " |%s| %5.2f",
                          HeatCells(of_shards, shard_columns, style.uses_color),
                          MeanToMax(of_shards));
  }
  return line;
}

// One balance over time, the newest at the right: "of shards   0.97 ▁▄▇█".
void DrawTrail(std::string_view name, std::span<const double> balances, Frame& frame) {
  std::string line = absl::StrFormat("%-18s %4.2f ", name, balances.back());
  const size_t room = frame.style().width - std::min(frame.style().width, size_t{26});
  const size_t shown = std::min(room, balances.size());
  const size_t levels = frame.style().uses_color ? kBars.size() : kHeatSigns.size();
  for (const double balance : balances.last(shown)) {
    const auto level = static_cast<size_t>(
        std::ceil(std::clamp(balance, 0.0, 1.0) * static_cast<double>(levels - 1)));
    if (frame.style().uses_color) {
      line += kBars[level];
    } else {
      line += kHeatSigns[level];
    }
  }
  frame.Line(line);
}

void DrawBalance(const ExpertLoad& load, std::span<const BalanceSight> trail, Frame& frame) {
  std::vector<double> of_experts;
  std::vector<double> of_shards;
  const auto add = [&](const BalanceSight& sight) {
    of_experts.push_back(sight.of_experts);
    of_shards.push_back(sight.of_shards);
  };
  std::ranges::for_each(trail, add);
  add(BalanceOf(load));
  DrawTrail("balance of experts", of_experts, frame);
  DrawTrail("balance of shards", of_shards, frame);
}

void DrawHeat(const ExpertLoad& load, Frame& frame) {
  frame.Raw("");
  frame.Line(absl::StrFormat(
      "rows per expert, last %g s; balance (mean/max, 1 is even); the same per shard",
      load.window_seconds));
  const size_t layers = load.layers.size();
  const size_t room = frame.lines_left();
  // The last layers give way to a line that says so.
  const size_t shown = layers <= room ? layers : room - std::min<size_t>(room, 1);
  for (size_t place = 0; place < shown; ++place) {
    frame.Raw(HeatLine(load, place, frame.style()));
  }
  if (shown < layers) frame.Line(absl::StrCat("... and ", layers - shown, " more layers"));
}

}  // namespace

BalanceSight BalanceOf(const ExpertLoad& load) {
  BalanceSight sight;
  size_t of_experts = 0;  // layers with rows
  size_t of_shards = 0;
  for (size_t place = 0; place < load.layers.size(); ++place) {
    const double experts = MeanToMax(load.layers[place].rows);
    const double shards = MeanToMax(ShardRowsOf(load, place));
    sight.of_experts += experts;
    sight.of_shards += shards;
    of_experts += experts > 0;
    of_shards += shards > 0;
  }
  if (of_experts > 0) sight.of_experts /= static_cast<double>(of_experts);
  if (of_shards > 0) sight.of_shards /= static_cast<double>(of_shards);
  return sight;
}

std::string DrawFrame(const ClusterSight& now, const ClusterSight* before, const FrameStyle& style,
                      std::span<const BalanceSight> trail) {
  Frame frame(style);
  DrawHead(now, frame);
  DrawTraffic(now, before, frame);
  if (now.load) {
    DrawBalance(*now.load, trail, frame);
    DrawShards(*now.load, frame);
    DrawHeat(*now.load, frame);
  } else {
    frame.Line(absl::StrCat("experts: ", now.load_error), kRed);
  }
  return frame.Done();
}

}  // namespace tessera::cli
