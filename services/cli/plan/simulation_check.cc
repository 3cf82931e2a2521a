#include "services/cli/plan/simulation_check.h"

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::cli {
namespace {

absl::Status Check(bool good, const char* field, const char* expected) {
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": expected ", expected));
}

// Times and rates, so that no time is without end.
absl::Status CheckNumbers(const SimulationConfig& c) {
  constexpr double kMicrosMax = 1e15;
  struct Number {
    const char* field;
    double value;
    double least;
    double most;
  };
  for (const Number& number : {Number{"detect_ms", c.detect_ms, 0, 1e-3 * kMicrosMax},
                               {"return_seconds", c.return_seconds, 0, 1e-6 * kMicrosMax},
                               {"attention_us", c.attention_us, 0, kMicrosMax},
                               {"post_us", c.post_us, 0, kMicrosMax},
                               {"step_us", c.step_us, 0, kMicrosMax},
                               {"others_us", c.others_us, 0, kMicrosMax},
                               {"call_us", c.call_us, 0, kMicrosMax},
                               {"touch_us", c.touch_us, 0, kMicrosMax},
                               {"row_us", c.row_us, 0, kMicrosMax},
                               {"link_us", c.link_us, 0, kMicrosMax},
                               {"link_gigabits", c.link_gigabits, 1e-6, 1e9},
                               {"unit_bytes", c.unit_bytes, 0, 1e15},
                               {"load_bytes_per_second", c.load_bytes_per_second, 1, 1e15}}) {
    if (number.value >= number.least && number.value <= number.most) continue;  // NaN does not
    return absl::InvalidArgumentError(absl::StrCat(number.field, ": ", number.value, "; expected ",
                                                   number.least, " to ", number.most));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSimulation(const SimulationConfig& c) {
  TESSERA_RETURN_IF_ERROR(Check(c.shape.layer_count >= 1 && c.shape.layer_count <= 4096 &&
                                    c.shape.expert_count >= 1 && c.shape.expert_count <= 65536,
                                "shape", "1..4096 layers of 1..65536 experts"));
  TESSERA_RETURN_IF_ERROR(Check(c.top_k >= 1 && c.top_k <= c.shape.expert_count, "experts",
                                "no fewer than a row visits"));
  TESSERA_RETURN_IF_ERROR(Check(c.shards >= 1 && c.shards <= 4096, "shards", "1..4096"));
  TESSERA_RETURN_IF_ERROR(Check(c.routers >= 1 && c.routers <= 1024, "routers", "1..1024"));
  TESSERA_RETURN_IF_ERROR(Check(c.rows >= 1 && c.rows <= 65536, "rows", "1..65536"));
  TESSERA_RETURN_IF_ERROR(Check(c.copies >= 1 && c.copies <= c.shards, "copies", "1..shards"));
  TESSERA_RETURN_IF_ERROR(Check(c.steps >= 1, "steps", ">= 1"));
  TESSERA_RETURN_IF_ERROR(Check(c.spare_slots >= 0 && c.spare_slots <= 16, "spare", "0..16"));
  TESSERA_RETURN_IF_ERROR(
      Check(c.slots_kept_free >= 0 && c.slots_kept_free <= 1, "slots_kept_free", "0..1"));
  TESSERA_RETURN_IF_ERROR(Check(c.warmup_steps >= 1, "warmup_steps", ">= 1"));
  TESSERA_RETURN_IF_ERROR(Check(c.rounds >= 1, "rounds", ">= 1"));
  return CheckNumbers(c);
}

}  // namespace tessera::cli
