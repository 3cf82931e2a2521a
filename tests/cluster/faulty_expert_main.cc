// An expert shard whose answers suffer on their way out. Serves until a signal, as tessera-expert.
//
//   cluster_faulty_expert --weather=delayed|duplicated|reordered|corrupted FLAGS_OF_TESSERA_EXPERT

#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/transport/data_address.h"
#include "common/transport/fault_plan.h"
#include "services/expert_shard/expert_shard_server.h"
#include "tests/support/faulty_transport.h"

namespace tessera {
namespace {

// An answer of the tiny checkpoint's shards takes about 0.2 ms: a delayed one a hundred times that.
std::optional<FaultRule> RuleOf(std::string_view weather) {
  FaultRule rule{.direction = FrameDirection::kFromListener, .type = wire::FrameType::kReply};
  if (weather == "delayed") {
    rule.kind = FaultKind::kDelay;
    rule.delay = absl::Milliseconds(20);
  } else if (weather == "duplicated") {
    rule.kind = FaultKind::kDuplicate;
    rule.probability = 0.5;
    rule.delay = absl::Milliseconds(2);
  } else if (weather == "reordered") {
    rule.kind = FaultKind::kReorder;
    rule.probability = 0.3;
    rule.jitter = absl::Milliseconds(3);
  } else if (weather == "corrupted") {
    rule.kind = FaultKind::kCorrupt;
    rule.probability = 0.05;
  } else {
    return std::nullopt;
  }
  return rule;
}

int Run(int argc, char** argv) {
  const std::string_view flag = argc > 1 ? argv[1] : "";
  constexpr std::string_view kFlag = "--weather=";
  const auto rule = flag.starts_with(kFlag) ? RuleOf(flag.substr(kFlag.size())) : std::nullopt;
  if (!rule.has_value()) {
    std::fprintf(stderr, "'%s': use --weather=delayed, duplicated, reordered or corrupted\n",
                 argc > 1 ? argv[1] : "");
    return 2;
  }
  ServiceProgram program = expert_shard::BuildExpertShard();
  program.build =
      [rule, clock = std::make_shared<RealClock>()](
          const google::protobuf::Message& message) -> absl::StatusOr<std::unique_ptr<Service>> {
    TESSERA_ASSIGN_OR_RETURN(const expert_shard::ExpertShardConfig config,
                             expert_shard::ToExpertShardConfig(message));
    TESSERA_ASSIGN_OR_RETURN(const DataAddress address, ParseDataAddress(config.data_listen));
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<Transport> transport,
                             MakeTransport(address.way, {.ucx = config.ucx}));
    FaultPlan plan(/*seed=*/config.slice.shard_id + 1);
    plan.Add(*rule);
    expert_shard::ExpertShardParts parts;
    parts.transport =
        std::make_unique<testing::FaultyTransport>(std::move(transport), *clock, std::move(plan));
    return expert_shard::ExpertShardServer::Start(config, *clock, std::move(parts));
  };
  argv[1] = argv[0];
  return RunMain(argc - 1, argv + 1, std::move(program));
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) { return tessera::Run(argc, argv); }
