#include "services/router/cluster/balance_report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tessera::router {
namespace {

std::string MoveJson(const BalanceMove& move) {
  using Kind = BalanceMove::Kind;
  std::string text =
      absl::StrCat("{\"kind\":\"",
                   move.kind == Kind::kCopy   ? "copy"
                   : move.kind == Kind::kMove ? "move"
                                              : "drop",
                   "\",\"layer\":", ToIndex(move.layer), ",\"expert\":", ToIndex(move.expert));
  if (move.kind != Kind::kCopy) absl::StrAppend(&text, ",\"from\":", ToIndex(move.from));
  if (move.kind != Kind::kDrop) absl::StrAppend(&text, ",\"to\":", ToIndex(move.to));
  return text + "}";
}

}  // namespace

std::string BalanceJson(const Balancer& balancer, const MeasuredBalance& measured,
                        absl::Duration now, size_t moves_max) {
  const BalanceLook& look = balancer.last_look();
  const auto& steps = balancer.migration().steps();
  const auto pending = std::ranges::count_if(steps, [](const UnitMigration::Step& step) {
    return step.stage != UnitMigration::Stage::kDone && step.stage != UnitMigration::Stage::kFailed;
  });
  std::string text =
      absl::StrCat("{\"verdict\":\"", std::string(NameOf(look.verdict)),
                   "\",\"frozen\":", balancer.frozen() ? "true" : "false", ",\"look_age_seconds\":",
                   look.verdict == BalanceVerdict::kNone ? 0 : absl::ToDoubleSeconds(now - look.at),
                   ",\"balance\":", look.plan.before, ",\"planned\":", look.plan.after,
                   ",\"gain\":", look.plan.gain(), ",\"steps\":", look.steps);
  absl::StrAppend(
      &text, ",\"window_balance\":", measured.window, ",\"step_balance\":", measured.step,
      ",\"costs\":{\"call_us\":", look.costs.call_us, ",\"touch_us\":", look.costs.touch_us,
      ",\"row_us\":", look.costs.row_us, ",\"fitted\":", look.costs.fitted ? "true" : "false", "}");
  absl::StrAppend(&text, ",\"rounds\":", balancer.rounds(), ",\"looks\":", balancer.looks(),
                  ",\"pending\":", pending, ",\"loads\":", look.plan.loads, ",\"moves\":[");
  for (size_t i = 0; i < std::min(moves_max, look.plan.moves.size()); ++i) {
    absl::StrAppend(&text, i > 0 ? "," : "", MoveJson(look.plan.moves[i]));
  }
  return text + "]}\n";
}

}  // namespace tessera::router
