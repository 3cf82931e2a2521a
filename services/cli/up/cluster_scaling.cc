#include "services/cli/up/cluster_scaling.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::cli {
namespace {

constexpr size_t kShardsMax = 256;

std::string NameOf(size_t shard) { return absl::StrCat("expert-", shard); }

}  // namespace

absl::Status ClusterScaling::Begin(size_t shard_count, size_t wanted, OnText on_text) {
  if (busy()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the cluster is on its way to ", wanted_, " shards; wait for that"));
  }
  if (wanted == 0 || wanted > kShardsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(wanted, " shards: use a number from 1 to ", kShardsMax));
  }
  count_ = shard_count;
  wanted_ = wanted;
  on_text_ = std::move(on_text);
  ready_ = started_ = 0;
  if (wanted_ < count_) {
    phase_ = Phase::kDraining;
    on_text_(NameOf(count_ - 1) + " is drained");
    shards_.BeginDrain(count_ - 1);
    return absl::OkStatus();
  }
  phase_ = Phase::kStarting;
  for (size_t shard = count_; shard < wanted_; ++shard) {
    ++started_;
    on_text_(NameOf(shard) + " starts");
    if (absl::Status status = shards_.StartShard(shard); !status.ok()) {
      Undo(std::move(status));
      break;
    }
  }
  return absl::OkStatus();
}

std::optional<absl::Status> ClusterScaling::Advance() {
  switch (phase_) {
    case Phase::kIdle:
      return std::nullopt;
    case Phase::kStarting:
      return AdvanceStart();
    case Phase::kUndoing:
      return AdvanceUndo();
    case Phase::kDraining:
      return AdvanceDrain();
    case Phase::kStopping:
      return AdvanceStop();
  }
  return std::nullopt;
}

std::optional<absl::Status> ClusterScaling::End(absl::Status status) {
  phase_ = Phase::kIdle;
  on_text_ = nullptr;
  return status;
}

void ClusterScaling::Undo(absl::Status why) {
  on_text_("the new shards are stopped again");
  why_ = std::move(why);
  phase_ = Phase::kUndoing;
  for (size_t i = 0; i < started_; ++i) shards_.StopShard(count_ + i);
}

std::optional<absl::Status> ClusterScaling::AdvanceStart() {
  size_t ready = 0;
  for (size_t i = 0; i < started_; ++i) {
    if (auto why = shards_.WhyGivenUp(count_ + i)) {
      Undo(*std::move(why));
      return AdvanceUndo();
    }
    ready += shards_.IsReady(count_ + i);
  }
  if (ready > ready_) on_text_(absl::StrCat(ready, " of ", started_, " new shards are ready"));
  ready_ = std::max(ready_, ready);
  if (ready < started_) return std::nullopt;
  count_ = wanted_;
  return End(absl::OkStatus());
}

std::optional<absl::Status> ClusterScaling::AdvanceUndo() {
  for (size_t i = 0; i < started_; ++i) {
    if (!shards_.IsGone(count_ + i)) return std::nullopt;
  }
  return End(Annotate(why_, absl::StrCat("still ", count_, " shards")));
}

std::optional<absl::Status> ClusterScaling::AdvanceDrain() {
  const std::optional<absl::Status> end = shards_.DrainEnd();
  if (!end) return std::nullopt;
  // A shard the router does not know holds nothing that could be missed.
  if (!end->ok() && !absl::IsNotFound(*end)) {
    return End(Annotate(*end, absl::StrCat("still ", count_, " shards")));
  }
  on_text_(NameOf(count_ - 1) + " is stopped");
  shards_.StopShard(count_ - 1);
  phase_ = Phase::kStopping;
  return AdvanceStop();
}

std::optional<absl::Status> ClusterScaling::AdvanceStop() {
  if (!shards_.IsGone(count_ - 1)) return std::nullopt;
  --count_;
  if (count_ == wanted_) return End(absl::OkStatus());
  phase_ = Phase::kDraining;
  on_text_(NameOf(count_ - 1) + " is drained");
  shards_.BeginDrain(count_ - 1);
  return std::nullopt;
}

}  // namespace tessera::cli
