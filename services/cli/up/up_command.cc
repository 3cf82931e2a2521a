#include "services/cli/up/up_command.h"

#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/concurrency/cpu_count.h"
#include "common/rpc/stop_signals.h"
#include "services/cli/compute_flags.h"
#include "services/cli/flag_set.h"
#include "services/cli/process/child_process.h"
#include "services/cli/up/in_process_cluster.h"
#include "services/cli/up/local_cluster.h"
#include "services/cli/up/service_configs.h"

namespace tessera::cli {
namespace {

struct UpOptions {
  LocalClusterConfig cluster;
  std::string shards = "auto";
  bool in_process = false;
  BoxWishes wishes;
};

void AddUpFlags(FlagSet& flags, UpOptions& options) {
  ClusterSettings& settings = options.cluster.settings;
  flags.Add(
      "model", &settings.model,
      "checkpoint folder (config.json and safetensors); empty: the small model that comes with "
      "the program");
  flags.Add("shards", &options.shards, "expert shards; auto: what the box bears");
  flags.Add("replicas", &options.wishes.replicas, "live copies of every expert");
  flags.Add("threads", &options.wishes.threads,
            "compute threads of each process; 0: what suits the box");
  AddComputeFlags(flags, settings);
  flags.Add("strict", &settings.strict,
            "the same bits whatever the number of shards and the failures on the way");
  flags.Add("transport", &settings.transport,
            "between router and shards: shm (memory of this box), ucx or grpc");
  flags.Add("in_process", &options.in_process,
            "all services in this process, over its memory: for small boxes and debuggers");
  flags.Add("record_routing", &options.cluster.record_routing,
            "file for which experts each step chose; tessera plan --simulate reads it");
  flags.Add("state_dir", &options.cluster.state_dir,
            "folder of cluster.json, configs, secret and logs; one cluster at a time");
  flags.Add("host", &options.cluster.host, "where the gateway listens");
  flags.Add("port", &options.cluster.port,
            "of the gateway's HTTP, its gRPC is one above; 0: any free ones");
}

absl::Status CheckOptions(UpOptions& options) {
  ClusterSettings& settings = options.cluster.settings;
  if (settings.model.empty()) {
    const absl::StatusOr<std::string> demo = SharedFolder("models/tessera-demo");
    if (!demo.ok()) {
      return absl::NotFoundError(
          absl::StrCat("up without --model=DIR runs the model that comes with "
                       "the program, but ",
                       demo.status().message()));
    }
    settings.model = *demo;
  }
  if (!std::filesystem::exists(settings.model + "/config.json")) {
    return absl::NotFoundError(
        absl::StrCat("--model=", settings.model, ": there is no config.json in that folder"));
  }
  if (options.cluster.state_dir.empty()) {
    return absl::InvalidArgumentError("--state_dir is empty; name a folder, such as .tessera");
  }
  TESSERA_RETURN_IF_ERROR(CheckSettings(settings));
  TESSERA_ASSIGN_OR_RETURN(options.wishes.shards, ParseShards(options.shards));
  TESSERA_ASSIGN_OR_RETURN(options.cluster.plan,
                           PlanBox(options.wishes, UsableCpuCount(), NumaNodeCount()));
  return absl::OkStatus();
}

void PrintCluster(const BoxCluster& cluster, std::ostream& out) {
  for (const ClusterProcess& process : cluster.processes()) {
    out << "  " << process.id << "  pid " << process.pid;
    for (const auto& [name, address] : process.endpoints) out << "  " << name << " " << address;
    out << "\n";
  }
  out << "  state and logs in " << cluster.state_path() << "\n";
  if (!cluster.has_gateway()) {
    out << "  no gateway: there is no tokenizer.json in the model's folder, or no tessera-gateway "
           "beside this program; try: tessera generate --ids=1,2,3 --state_dir="
        << cluster.state_path() << "\n";
  }
  out << "ready; Ctrl-C stops it" << std::endl;
}

absl::Status Up(UpOptions& options, const Streams& streams) {
  TESSERA_RETURN_IF_ERROR(CheckOptions(options));
  // First, so that nothing inherits what a shell or a parent has set.
  StopSignals signals;
  const RealClock clock;
  const absl::Duration start = clock.Elapsed();
  const BoxPlan& plan = options.cluster.plan;
  streams.err << "starting a router (" << plan.router_threads << " threads) and " << plan.shards
              << (plan.shards == 1 ? " expert shard (" : " expert shards (") << plan.shard_threads
              << " threads each), " << plan.replicas << (plan.replicas == 1 ? " copy" : " copies")
              << " of every expert" << std::endl;
  std::unique_ptr<BoxCluster> cluster;
  if (options.in_process) {
    TESSERA_ASSIGN_OR_RETURN(cluster, InProcessCluster::Start(options.cluster, clock));
  } else {
    TESSERA_ASSIGN_OR_RETURN(cluster, LocalCluster::Start(options.cluster, clock));
  }
  const bool redraw = IsTerminal(streams.err);
  const absl::Status ready = cluster->WaitReady(signals.fd(), [&](size_t done, size_t total) {
    streams.err << (redraw ? "\r" : "") << "ready: " << done << " of " << total << " after "
                << absl::FormatDuration(
                       absl::Trunc(clock.Elapsed() - start, absl::Milliseconds(10)))
                << (redraw && done < total ? "    " : "\n") << std::flush;
  });
  absl::Status status = ready;
  if (ready.ok()) {
    PrintCluster(*cluster, streams.out);
    status = cluster->Run(signals.fd());
  }
  if (absl::IsCancelled(status)) status = absl::OkStatus();
  if (status.ok()) {
    signals.Wait();
    streams.err << "stopping" << std::endl;
  }
  cluster->Stop([&signals] { return signals.pending(); });
  return status;
}

}  // namespace

int RunUp(std::span<const std::string_view> args, const Streams& streams) {
  UpOptions options;
  FlagSet flags("up [--model=DIR]",
                "Runs a whole cluster on this box until Ctrl-C: a router, expert shards, and the "
                "gateway.");
  AddUpFlags(flags, options);
  return RunWithFlags(flags, args, streams, [&] { return Up(options, streams); });
}

}  // namespace tessera::cli
