#include "services/cli/plan/plan_command.h"

#include <memory>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/http/http_client.h"
#include "common/model/model_config.h"
#include "services/cli/flag_set.h"
#include "services/cli/plan/capacity_plan.h"
#include "services/cli/plan/cluster_simulation.h"
#include "services/cli/plan/load_report.h"
#include "services/cli/plan/simulation_check.h"
#include "services/router/balance/routing_trace.h"

namespace tessera::cli {
namespace {

// Large clusters are planned for up to some seconds.
constexpr absl::Duration kLookPause = absl::Milliseconds(50);
constexpr int kLookWaits = 400;

struct PlanOptions {
  std::string model;
  // Capacity.
  std::string gpus;
  std::string cpus;
  CapacityWishes wishes;
  // A running cluster.
  std::string from;
  std::string api_key;
  size_t moves = 20;
  LoadAssumptions assumptions;
  // Simulation.
  bool simulate = false;
  bool table = false;
  bool json = false;
  std::string routing;
  double zipf = 0.9;
  double unit_mb = 57;
  double load_mb_per_second = 1000;
  SimulationConfig simulation;
};

void AddCapacityFlags(FlagSet& flags, PlanOptions& options) {
  CapacityWishes& wishes = options.wishes;
  flags.Add("model", &options.model, "checkpoint folder; its config.json is enough");
  flags.Add("gpus", &options.gpus, "kind of GPU: h100, h200, b200, a100, l40s");
  flags.Add("cpus", &options.cpus,
            "kind of CPU machine: cpu (two sockets) or desktop; with --gpus the shards' kind");
  flags.Add("tokens_per_second", &wishes.tokens_per_second, "decoded, of all users together");
  flags.Add("tpot_ms", &wishes.tpot_ms, "time per output token that must be kept");
  flags.Add("context", &wishes.context, "tokens of a sequence, on average");
  flags.Add("router_bytes_per_weight", &wishes.router_bytes_per_weight, "2 for bf16, 1.06 for q8");
  flags.Add("expert_bytes_per_weight", &wishes.expert_bytes_per_weight,
            "2 for bf16, 1.06 for q8, 0.56 for q4");
  flags.Add("copies", &wishes.copies, "of the experts' memory: 1.125 leaves slots for hot ones");
  flags.Add("memory_gb", &wishes.shard.memory_gb, "of a shard's device, instead of the kind's");
  flags.Add("gigabytes_per_second", &wishes.shard.gigabytes_per_second,
            "a shard's read loop, instead of the kind's");
}

void AddClusterFlags(FlagSet& flags, PlanOptions& options) {
  flags.Add("from", &options.from,
            "a running cluster: the gateway's address, or the admin address of its router");
  flags.Add("api_key", &options.api_key, "for the gateway, if it asks for one");
  flags.Add("moves", &options.moves, "changes that are listed");
}

void AddSimulationFlags(FlagSet& flags, PlanOptions& options) {
  SimulationConfig& s = options.simulation;
  flags.Add("simulate", &options.simulate, "runs a cluster without machines");
  flags.Add("table", &options.table,
            "with --simulate: balance for Zipf 0.6, 0.9, 1.2 at 16, 64, 256 shards");
  flags.Add("json", &options.json, "with --simulate: one JSON line");
  flags.Add("routing", &options.routing, "a trace (up --record_routing) instead of a Zipf law");
  flags.Add("zipf", &options.zipf, "exponent of the law by which experts are chosen");
  flags.Add("layers", &s.shape.layer_count, "with experts, without --model");
  flags.Add("experts", &s.shape.expert_count, "of a layer, without --model");
  flags.Add("shards", &s.shards, "expert shards");
  flags.Add("routers", &s.routers, "routers");
  flags.Add("rows", &s.rows, "of each router's step");
  flags.Add("steps", &s.steps, "of each router, measured");
  flags.Add("warmup_steps", &s.warmup_steps, "of each router before each round of moves");
  flags.Add("rounds", &s.rounds, "of moves before measuring");
  flags.Add("loads_max", &s.loads_max, "experts loaded in one round");
  flags.Add("spare", &s.spare_slots, "slots in addition, as a share");
  flags.Add("slots_kept_free", &s.slots_kept_free,
            "of a shard's slots, by rounds of moves, as the router's balance.slots_kept_free");
  flags.Add("replicas", &s.copies, "of every expert to begin with");
  flags.Add("balance", &s.balance, "false: experts stay where they began");
  flags.Add("failures", &s.failures, "shards that die while it is measured");
  flags.Add("detect_ms", &s.detect_ms, "until a dead shard's calls go elsewhere");
  flags.Add("attention_us", &s.attention_us, "a router's own time for a layer");
  flags.Add("post_us", &s.post_us, "a router's own time for each call");
  flags.Add("step_us", &s.step_us, "a router's own time for a step, beside its layers");
  flags.Add("others_us", &s.others_us, "gateways' and clients' time for each row of a step");
  flags.Add("processors", &s.processors,
            "of the one machine that all run on; 0: as many as needed");
  flags.Add("call_us", &s.call_us, "a shard's time for any call");
  flags.Add("touch_us", &s.touch_us, "a shard's time for each expert of a call");
  flags.Add("row_us", &s.row_us, "a shard's time for each (row, expert) pair");
  flags.Add("link_us", &s.link_us, "one way");
  flags.Add("link_gigabits", &s.link_gigabits, "of a shard");
  flags.Add("unit_mb", &options.unit_mb, "of one expert of a layer, without --model");
  flags.Add("load_mb_per_second", &options.load_mb_per_second, "of a shard that reads an expert");
}

absl::Status Capacity(const FlagSet& flags, PlanOptions& options, const Streams& streams) {
  if (options.model.empty() || (options.gpus.empty() && options.cpus.empty())) {
    return absl::InvalidArgumentError(
        "plan needs --model=DIR with --gpus=KIND or --cpus=KIND, or --simulate, or --from=ADDRESS");
  }
  TESSERA_ASSIGN_OR_RETURN(const ModelSpec spec, ReadModelSpec(options.model));
  CapacityWishes& wishes = options.wishes;
  const DeviceKind given = wishes.shard;
  TESSERA_ASSIGN_OR_RETURN(wishes.router,
                           FindDevice(options.gpus.empty() ? options.cpus : options.gpus));
  TESSERA_ASSIGN_OR_RETURN(wishes.shard,
                           FindDevice(options.cpus.empty() ? options.gpus : options.cpus));
  if (flags.given("memory_gb")) wishes.shard.memory_gb = given.memory_gb;
  if (flags.given("gigabytes_per_second")) {
    wishes.shard.gigabytes_per_second = given.gigabytes_per_second;
  }
  TESSERA_ASSIGN_OR_RETURN(const CapacityPlan plan, PlanCapacity(spec, wishes));
  for (const std::string& line : plan.arithmetic) streams.out << line << "\n";
  if (plan.feasible) return absl::OkStatus();
  return absl::FailedPreconditionError("no number of these devices keeps that time");
}

absl::Status FromGateway(const std::string& body, const PlanOptions& options,
                         const Streams& streams) {
  TESSERA_ASSIGN_OR_RETURN(const LoadReport report, ReadLoadReport(body));
  TESSERA_ASSIGN_OR_RETURN(const router::BalancePlan plan, PlanFor(report, options.assumptions));
  streams.out << absl::StreamFormat(
      "an estimate from the load of the last %.0f s: a gateway does not know who holds what, so "
      "experts are taken to lie in even slices on the live shards, with %.0f %% spare slots; ask "
      "the admin address of the router for its own plan\n",
      report.window_seconds, 100 * options.assumptions.spare_slots);
  streams.out << DescribePlan(plan, options.moves);
  return absl::OkStatus();
}

absl::StatusOr<std::string> FetchBalance(const HttpClient& client) {
  TESSERA_ASSIGN_OR_RETURN(HttpAnswer answer, client.Fetch("/balance"));
  if (answer.status == 200) return std::move(answer.body);
  return absl::UnavailableError(absl::StrCat(client.address(), " answers ", answer.status,
                                             " to GET /v1/experts/load or GET /balance; expected "
                                             "a gateway or the admin address of a router"));
}

// What the last look found may be half a minute old, so the router is told to look now.
absl::Status FromRouter(const HttpClient& client, const PlanOptions& options,
                        const Streams& streams) {
  TESSERA_ASSIGN_OR_RETURN(std::string balance, FetchBalance(client));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t before, LooksOf(balance));
  const auto ignore = [](std::string_view) { return absl::OkStatus(); };
  TESSERA_ASSIGN_OR_RETURN(const HttpAnswer asked, client.PostJson("/balance/look", "", ignore));
  if (asked.status != 202) {
    return absl::FailedPreconditionError(absl::StrCat(client.address(), " answers ", asked.status,
                                                      " to POST /balance/look: ", asked.body));
  }
  uint64_t looks = before;
  for (int wait = 0; looks <= before; ++wait) {
    if (wait == kLookWaits) {
      return absl::DeadlineExceededError(absl::StrCat(
          client.address(), " has not looked for ", absl::FormatDuration(kLookWaits * kLookPause)));
    }
    if (wait > 0) absl::SleepFor(kLookPause);
    TESSERA_ASSIGN_OR_RETURN(balance, FetchBalance(client));
    TESSERA_ASSIGN_OR_RETURN(looks, LooksOf(balance));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::string text, DescribeBalance(balance, options.moves));
  streams.out << text;
  return absl::OkStatus();
}

absl::Status FromCluster(const PlanOptions& options, const Streams& streams) {
  HttpClientConfig config;
  config.bearer = options.api_key;
  TESSERA_ASSIGN_OR_RETURN(const HttpClient client, HttpClient::For(options.from, config));
  TESSERA_ASSIGN_OR_RETURN(const HttpAnswer load, client.Fetch("/v1/experts/load"));
  return load.status == 200 ? FromGateway(load.body, options, streams)
                            : FromRouter(client, options, streams);
}

// On average: steps of a trace differ.
double RowsOfStep(const SimulationResult& result) {
  return result.steps_per_second > 0 ? result.tokens_per_second / result.steps_per_second : 0;
}

void PrintJson(const SimulationConfig& c, const SimulationResult& r, std::ostream& out) {
  out << absl::StreamFormat(
      "{\"shards\":%d,\"routers\":%d,\"rows\":%.6g,\"tokens_per_second\":%.1f,\"step_ms_p50\":%.3f,"
      "\"step_ms_p99\":%.3f,\"step_ms_max\":%.3f,\"window_balance\":%.4f,\"step_balance\":%.4f,"
      "\"experts_balance\":%.4f,\"planned_balance\":%.4f,\"busy_mean\":%.3f,\"busy_max\":%.3f,"
      "\"loads\":%d,\"retried_calls\":%d,\"restored_experts\":%d,\"roomless_experts\":%d,"
      "\"died_shards\":%d,\"steps_per_second\":%.3f,\"seconds\":%.4f}\n",
      c.shards, c.routers, RowsOfStep(r), r.tokens_per_second, r.step_ms_p50, r.step_ms_p99,
      r.step_ms_max, r.window_balance, r.step_balance, r.experts_balance, r.planned, r.busy_mean,
      r.busy_max, r.loads, r.retried_calls, r.restored_experts, r.roomless_experts, r.died_shards,
      r.steps_per_second, r.seconds);
}

void PrintResult(const SimulationConfig& c, const SimulationResult& r, std::ostream& out) {
  out << absl::StreamFormat(
      "%d layers x %d experts, %d shards, %d routers x %.6g rows, %.1f %% spare slots\n"
      "tokens/s          %.0f\n"
      "step (ms)         p50 %.2f, p99 %.2f, longest %.2f\n"
      "balance           %.3f over all steps (of pairs %.3f), %.3f of each step (of its different "
      "experts %.3f)\n"
      "shards busy       %.0f %% on average, the busiest %.0f %%\n",
      c.shape.layer_count, c.shape.expert_count, c.shards, c.routers, RowsOfStep(r),
      100 * c.spare_slots, r.tokens_per_second, r.step_ms_p50, r.step_ms_p99, r.step_ms_max,
      r.window_balance, r.pairs_balance, r.step_balance, r.experts_balance, 100 * r.busy_mean,
      100 * r.busy_max);
  if (c.balance) {
    out << absl::StreamFormat("moves             %d experts loaded, balance %.3f promised\n",
                              r.loads, r.planned);
  }
  if (c.failures > 0) {
    out << absl::StreamFormat(
        "failures          %d shards died: %d calls asked again, %d experts loaded elsewhere, "
        "%d times nobody had room\n",
        r.died_shards, r.retried_calls, r.restored_experts, r.roomless_experts);
  }
}

absl::Status PrintTable(const PlanOptions& options, std::ostream& out) {
  out << "Zipf  shards  spare   balance: promised, all steps, each step   tokens/s (unbalanced)\n";
  for (const double exponent : {0.6, 0.9, 1.2}) {
    for (const size_t shards : {size_t{16}, size_t{64}, size_t{256}}) {
      for (const double spare : {0.0, 0.125, 0.25}) {
        SimulationConfig config = options.simulation;
        config.shards = shards;
        config.spare_slots = spare;
        TESSERA_RETURN_IF_ERROR(CheckSimulation(config));
        router::ZipfRouting routing(config.shape, config.top_k, exponent, config.seed);
        TESSERA_ASSIGN_OR_RETURN(const SimulationResult with, Simulate(config, routing));
        config.balance = false;
        router::ZipfRouting again(config.shape, config.top_k, exponent, config.seed);
        TESSERA_ASSIGN_OR_RETURN(const SimulationResult without, Simulate(config, again));
        out << absl::StreamFormat(
                   "%.1f   %5d   %4.1f %%   %.3f  %.3f  %.3f (%.3f  %.3f)   %.0f (%.0f)\n",
                   exponent, shards, 100 * spare, with.planned, with.window_balance,
                   with.step_balance, without.window_balance, without.step_balance,
                   with.tokens_per_second, without.tokens_per_second)
            << std::flush;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMegabytes(const char* flag, double value, double least) {
  constexpr double kMost = 1e9;
  if (value >= least && value <= kMost) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, ": ", value, "; expected ", least, " to ", kMost));
}

absl::Status Simulation(PlanOptions& options, const Streams& streams) {
  SimulationConfig& config = options.simulation;
  TESSERA_RETURN_IF_ERROR(CheckMegabytes("unit_mb", options.unit_mb, 0));
  TESSERA_RETURN_IF_ERROR(CheckMegabytes("load_mb_per_second", options.load_mb_per_second, 1e-6));
  config.unit_bytes = options.unit_mb * 1e6;
  config.load_bytes_per_second = options.load_mb_per_second * 1e6;
  if (!options.model.empty()) {
    TESSERA_ASSIGN_OR_RETURN(const ModelSpec spec, ReadModelSpec(options.model));
    config.shape = {spec.moe_layer_count(), spec.expert_count};
    config.top_k = static_cast<uint32_t>(spec.top_k);
    config.row_bytes_up = 2 * spec.d_model;    // bf16
    config.row_bytes_down = 4 * spec.d_model;  // float32
    config.unit_bytes = 6.0 * static_cast<double>(spec.d_model * spec.expert_width);
  }
  if (options.table) return PrintTable(options, streams.out);
  router::RoutingTrace trace;
  std::unique_ptr<router::RoutingSource> routing;
  if (!options.routing.empty()) {
    TESSERA_ASSIGN_OR_RETURN(trace, router::RoutingTrace::Read(options.routing));
    config.shape = trace.shape;
    config.top_k = trace.top_k;
    auto replay = std::make_unique<router::TraceRouting>(trace);
    for (uint32_t l = 0; l < trace.shape.layer_count; ++l) {
      if (replay->Has(LayerIndex{l})) config.moe_layers.push_back(LayerIndex{l});
    }
    if (config.moe_layers.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(options.routing, " holds no steps"));
    }
    routing = std::move(replay);
  } else {
    TESSERA_RETURN_IF_ERROR(CheckSimulation(config));  // before so much is allocated
    routing = std::make_unique<router::ZipfRouting>(config.shape, config.top_k, options.zipf,
                                                    config.seed);
  }
  TESSERA_ASSIGN_OR_RETURN(const SimulationResult result, Simulate(config, *routing));
  if (options.json) {
    PrintJson(config, result, streams.out);
  } else {
    PrintResult(config, result, streams.out);
  }
  return absl::OkStatus();
}

absl::Status Plan(const FlagSet& flags, PlanOptions& options, const Streams& streams) {
  if (!options.from.empty()) return FromCluster(options, streams);
  if (options.simulate) return Simulation(options, streams);
  return Capacity(flags, options, streams);
}

}  // namespace

int RunPlan(std::span<const std::string_view> args, const Streams& streams) {
  PlanOptions options;
  FlagSet flags("plan --model=DIR --gpus=KIND | --simulate | --from=ADDRESS",
                "How many routers and shards a load needs, what a cluster would do under it, or "
                "what balancing would do for a running one.");
  AddCapacityFlags(flags, options);
  AddClusterFlags(flags, options);
  AddSimulationFlags(flags, options);
  return RunWithFlags(flags, args, streams, [&] { return Plan(flags, options, streams); });
}

}  // namespace tessera::cli
