#include "services/cli/plan/capacity_plan.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"

namespace tessera::cli {
namespace {

constexpr size_t kRoutersMax = 4096;
constexpr size_t kShardsMax = 4096;

// Memory: what is sold less a tenth. Rates: what read loops and matrix products reach of it, about
// four fifths of the memory's and half of the arithmetic's.
const std::array<DeviceKind, 7>& Devices() {
  static const std::array<DeviceKind, 7> devices = {{{"h100", 72, 2700, 450},
                                                     {"h200", 127, 3900, 450},
                                                     {"b200", 172, 6400, 1100},
                                                     {"a100", 72, 1600, 150},
                                                     {"l40s", 43, 700, 180},
                                                     {"cpu", 460, 370, 4},
                                                     {"desktop", 56, 60, 0.8}}};
  return devices;
}

// What the model asks for, in bytes and products.
struct Needs {
  double unit_bytes = 0;         // one expert of one layer
  double expert_bytes = 0;       // all of them
  double dense_bytes = 0;        // everything else
  double kv_token_bytes = 0;     // one token in a layer, bf16
  double kv_sequence_bytes = 0;  // of a sequence of the wished length, all layers
};

Needs NeedsOf(const ModelSpec& spec, const CapacityWishes& w) {
  Needs needs;
  const double unit = 3.0 * static_cast<double>(spec.d_model * spec.expert_width);
  const auto units = static_cast<double>(spec.moe_layer_count() * spec.expert_count);
  needs.unit_bytes = unit * w.expert_bytes_per_weight;
  needs.expert_bytes = units * needs.unit_bytes;
  const double all = static_cast<double>(CountParameters(spec).total);
  needs.dense_bytes = (all - units * unit) * w.router_bytes_per_weight;
  needs.kv_token_bytes = 2.0 * 2.0 * static_cast<double>(spec.kv_width());
  for (const LayerKind kind : spec.layer_kinds) {
    const size_t tokens =
        kind == LayerKind::kFull ? w.context : std::min(w.context, spec.sliding_window);
    needs.kv_sequence_bytes += needs.kv_token_bytes * static_cast<double>(tokens);
  }
  return needs;
}

// One way to cut it: times of a step in milliseconds.
struct Cut {
  double sequences = 0;  // of each router
  double router_gb = 0;
  double shard_gb = 0;
  double router_ms = 0;
  double expert_ms = 0;
  double link_ms = 0;
  double touched = 0;  // experts of a layer, all shards
  double step_ms() const { return router_ms + expert_ms + link_ms; }
};

Cut CutInto(size_t routers, size_t shards, const ModelSpec& spec, const Needs& needs,
            const CapacityWishes& w) {
  Cut cut;
  const auto r = static_cast<double>(routers);
  const auto s = static_cast<double>(shards);
  const double together = w.tokens_per_second * w.tpot_ms / 1e3;
  cut.sequences = std::ceil(together / r);
  cut.router_gb = (needs.dense_bytes + cut.sequences * needs.kv_sequence_bytes) / 1e9;
  cut.shard_gb = needs.expert_bytes * w.copies / s / 1e9;
  const double active = static_cast<double>(CountParameters(spec).total) -
                        needs.expert_bytes / w.expert_bytes_per_weight;
  const double read_gb = (needs.dense_bytes + cut.sequences * needs.kv_sequence_bytes) / 1e9;
  const double router_flops = 2 * active * cut.sequences / 1e12;
  cut.router_ms =
      1e3 * std::max(read_gb / w.router.gigabytes_per_second, router_flops / w.router.teraflops);
  // Shards serve all routers: their calls meet there, and a layer's experts are read once for those
  // that come together. Counted is the worse: each router's calls on their own.
  cut.touched = ExpertsTouched(cut.sequences, static_cast<double>(spec.top_k),
                               static_cast<double>(spec.expert_count));
  const double unit_weights = needs.unit_bytes / w.expert_bytes_per_weight;
  const double pairs = cut.sequences * static_cast<double>(spec.top_k);
  const double shard_read_ms =
      1e3 * cut.touched / s * needs.unit_bytes / 1e9 / w.shard.gigabytes_per_second;
  const double shard_math_ms = 1e3 * 2 * unit_weights * pairs / s / 1e12 / w.shard.teraflops;
  const auto layers = static_cast<double>(spec.moe_layer_count());
  cut.expert_ms = layers * std::max(shard_read_ms, shard_math_ms) / w.balance;
  const double rows_per_shard = cut.sequences * std::min(1.0, static_cast<double>(spec.top_k) / s);
  // There in bf16, back in float32.
  const double row_us = rows_per_shard * (2.0 + 4.0) * static_cast<double>(spec.d_model) * 8 /
                        (w.link_gigabits * 1e3);
  cut.link_ms = layers * (2 * w.link_us + row_us) / 1e3;
  return cut;
}

// A router waits while its calls are served; shards serve the other routers meanwhile.
double ShardUse(const Cut& cut, size_t routers, double tpot_ms) {
  return static_cast<double>(routers) * cut.expert_ms / tpot_ms;
}

void Explain(const ModelSpec& spec, const Needs& needs, const CapacityWishes& w, const Cut& cut,
             CapacityPlan& plan) {
  const auto add = [&plan](std::string line) { plan.arithmetic.push_back(std::move(line)); };
  const size_t units = spec.moe_layer_count() * spec.expert_count;
  add(absl::StrFormat("sequences at once   %.0f tokens/s x %.0f ms = %.0f", w.tokens_per_second,
                      w.tpot_ms, w.tokens_per_second * w.tpot_ms / 1e3));
  add(absl::StrFormat(
      "one expert          3 x %d x %d x %.2f bytes = %.1f MB; %d layers x %d experts = %.1f GB",
      spec.d_model, spec.expert_width, w.expert_bytes_per_weight, needs.unit_bytes / 1e6,
      spec.moe_layer_count(), spec.expert_count, needs.expert_bytes / 1e9));
  add(absl::StrFormat("everything else     %.2f GB in each router", needs.dense_bytes / 1e9));
  add(absl::StrFormat(
      "keys and values     2 x %d x 2 bytes = %.0f a token and layer; %.3f GB a sequence of %d",
      spec.kv_width(), needs.kv_token_bytes, needs.kv_sequence_bytes / 1e9, w.context));
  add(absl::StrFormat("router memory       %.2f + %.0f x %.3f = %.1f of %.0f GB (%s)",
                      needs.dense_bytes / 1e9, cut.sequences, needs.kv_sequence_bytes / 1e9,
                      cut.router_gb, w.router.memory_gb, w.router.name));
  add(
      absl::StrFormat("shard memory        %d experts x %.3f copies / %d shards = %.1f of %.0f GB "
                      "(%s)",
                      units, w.copies, plan.shards, cut.shard_gb, w.shard.memory_gb, w.shard.name));
  add(
      absl::StrFormat("router time         weights and caches at %.0f GB/s, or %.0f TFLOP/s: "
                      "%.2f ms a step",
                      w.router.gigabytes_per_second, w.router.teraflops, cut.router_ms));
  add(absl::StrFormat(
      "experts touched     %d x (1 - (1 - %d/%d)^%.0f) = %.1f of a layer, by %.0f rows",
      spec.expert_count, spec.top_k, spec.expert_count, cut.sequences, cut.touched, cut.sequences));
  add(
      absl::StrFormat("shard time          %d layers x %.1f / %d experts x %.1f MB at %.0f GB/s / "
                      "balance %.2f: %.2f ms a step",
                      spec.moe_layer_count(), cut.touched, plan.shards, needs.unit_bytes / 1e6,
                      w.shard.gigabytes_per_second, w.balance, cut.expert_ms));
  add(
      absl::StrFormat("on the way          %d layers x (2 x %.0f us and rows of %d x (2 + 4) "
                      "bytes): %.2f ms a step",
                      spec.moe_layer_count(), w.link_us, spec.d_model, cut.link_ms));
  add(absl::StrFormat("step                %.2f + %.2f + %.2f = %.2f ms of %.0f", cut.router_ms,
                      cut.expert_ms, cut.link_ms, cut.step_ms(), w.tpot_ms));
  add(
      absl::StrFormat("shards in use       %d routers x %.2f ms / %.0f ms = %.0f %% (at most "
                      "%.0f %%)",
                      plan.routers, cut.expert_ms, w.tpot_ms,
                      100 * ShardUse(cut, plan.routers, w.tpot_ms), 100 * w.use_max));
}

absl::Status Check(bool good, const char* field) {
  return good ? absl::OkStatus()
              : absl::InvalidArgumentError(absl::StrCat(field, ": expected a number above 0"));
}

absl::Status CheckWishes(const CapacityWishes& w) {
  TESSERA_RETURN_IF_ERROR(Check(w.tokens_per_second > 0, "tokens_per_second"));
  TESSERA_RETURN_IF_ERROR(Check(w.tpot_ms > 0, "tpot_ms"));
  TESSERA_RETURN_IF_ERROR(Check(w.context > 0, "context"));
  TESSERA_RETURN_IF_ERROR(Check(w.balance > 0 && w.balance <= 1, "balance (at most 1)"));
  TESSERA_RETURN_IF_ERROR(Check(w.copies >= 1, "copies (at least 1)"));
  TESSERA_RETURN_IF_ERROR(Check(w.link_gigabits > 0, "link_gigabits"));
  for (const DeviceKind* device : {&w.router, &w.shard}) {
    TESSERA_RETURN_IF_ERROR(
        Check(device->memory_gb > 0 && device->gigabytes_per_second > 0 && device->teraflops > 0,
              "memory, bandwidth and arithmetic of a device"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DeviceKind> FindDevice(const std::string& name) {
  std::string known;
  for (const DeviceKind& device : Devices()) {
    if (device.name == name) return device;
    absl::StrAppend(&known, known.empty() ? "" : ", ", device.name);
  }
  return absl::InvalidArgumentError(absl::StrCat("'", name, "' is no device; use ", known));
}

double ExpertsTouched(double rows, double top_k, double experts) {
  return experts * (1 - std::pow(1 - top_k / experts, rows));
}

absl::StatusOr<CapacityPlan> PlanCapacity(const ModelSpec& spec, const CapacityWishes& wishes) {
  TESSERA_RETURN_IF_ERROR(CheckWishes(wishes));
  if (spec.moe_layer_count() == 0 || spec.expert_count == 0) {
    return absl::InvalidArgumentError("the model has no routed experts");
  }
  const Needs needs = NeedsOf(spec, wishes);
  const auto shards_for_memory = static_cast<size_t>(
      std::ceil(needs.expert_bytes * wishes.copies / 1e9 / wishes.shard.memory_gb));
  CapacityPlan plan;
  Cut cut;
  for (size_t routers = 1; routers <= kRoutersMax && !plan.feasible; routers += 1 + routers / 64) {
    for (size_t shards = std::max<size_t>(1, shards_for_memory); shards <= kShardsMax;
         shards += 1 + shards / 64) {
      cut = CutInto(routers, shards, spec, needs, wishes);
      plan.routers = routers;
      plan.shards = shards;
      if (cut.router_gb > wishes.router.memory_gb) break;  // more shards do not help
      // Nor do they here. The time on the way is another matter: they share the rows.
      if (cut.router_ms > wishes.tpot_ms) break;
      plan.feasible = cut.step_ms() <= wishes.tpot_ms &&
                      ShardUse(cut, routers, wishes.tpot_ms) <= wishes.use_max;
      if (plan.feasible) break;
    }
    // Fewer rows a router make its step shorter only as far as its weights allow.
    const bool weights_alone_late =
        1e3 * needs.dense_bytes / 1e9 / wishes.router.gigabytes_per_second > wishes.tpot_ms;
    if (weights_alone_late) break;
  }
  plan.router_gb = cut.router_gb;
  plan.shard_gb = cut.shard_gb;
  plan.step_ms = cut.step_ms();
  Explain(spec, needs, wishes, cut, plan);
  plan.arithmetic.push_back(
      plan.feasible
          ? absl::StrFormat("answer              %d routers of %.1f GB, %d shards of %.1f GB",
                            plan.routers, plan.router_gb, plan.shards, plan.shard_gb)
          : "answer              not with these devices: see which line is over its limit");
  return plan;
}

}  // namespace tessera::cli
