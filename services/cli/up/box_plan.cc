#include "services/cli/up/box_plan.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tessera::cli {
namespace {

constexpr size_t kShardsMax = 256;
constexpr size_t kThreadsMax = 4096;  // as the services' configs say
constexpr size_t kCpusForTwoShards = 4;

}  // namespace

absl::StatusOr<size_t> ParseShards(const std::string& text) {
  if (text == "auto") return 0;
  uint64_t shards = 0;
  if (!absl::SimpleAtoi(text, &shards) || shards == 0 || shards > kShardsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shards=", text, ": use auto or a number from 1 to ", kShardsMax));
  }
  return shards;
}

absl::StatusOr<BoxPlan> PlanBox(const BoxWishes& wishes, size_t cpus, size_t numa_nodes) {
  if (wishes.replicas == 0 || wishes.replicas > kShardsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("--replicas=", wishes.replicas, ": use a number from 1 to ", kShardsMax));
  }
  if (wishes.shards != 0 && wishes.replicas > wishes.shards) {
    return absl::InvalidArgumentError(absl::StrCat("--replicas=", wishes.replicas,
                                                   " copies need as many shards, and --shards is ",
                                                   wishes.shards));
  }
  if (wishes.threads > kThreadsMax) {
    return absl::InvalidArgumentError(absl::StrCat("--threads=", wishes.threads,
                                                   ": use a number from 1 to ", kThreadsMax,
                                                   ", or 0 for what suits the box"));
  }
  BoxPlan plan;
  plan.replicas = wishes.replicas;
  plan.shards = wishes.shards;
  if (plan.shards == 0) {
    const size_t for_box = cpus < kCpusForTwoShards ? 1 : std::max<size_t>(2, numa_nodes);
    plan.shards = std::max(for_box, wishes.replicas);
  }
  plan.router_threads = wishes.threads != 0 ? wishes.threads : std::max<size_t>(1, cpus);
  plan.shard_threads =
      wishes.threads != 0 ? wishes.threads : std::max<size_t>(1, cpus / plan.shards);
  return plan;
}

size_t NumaNodeCount(const std::string& root) {
  size_t nodes = 0;
  std::error_code error;
  const std::filesystem::path folder = root + "sys/devices/system/node";
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.size() > 4 && name.starts_with("node") && std::isdigit(name[4])) ++nodes;
  }
  return std::max<size_t>(1, nodes);
}

}  // namespace tessera::cli
