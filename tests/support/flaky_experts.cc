#include "tests/support/flaky_experts.h"

#include "common/base/check.h"

namespace tessera::testing {

FlakyExperts::FlakyExperts(router::ExpertCalls& calls, const ModelSpec& spec)
    : calls_(calls), spec_(spec) {
  Restore();
}

void FlakyExperts::Lose(std::vector<Unit> units) {
  absl::MutexLock lock(&mutex_);
  lost_ = {units.begin(), units.end()};
  Publish();
}

void FlakyExperts::Publish() {
  auto view = std::make_shared<router::ClusterView>();
  view->version = ++version_;
  std::vector<PlacedUnit> placed;
  uint32_t slot = 0;
  for (uint32_t layer = 0; layer < spec_.layer_count; ++layer) {
    for (uint32_t expert = 0; expert < spec_.expert_count && !spec_.is_dense(layer); ++expert) {
      if (lost_.contains({layer, expert})) continue;
      placed.push_back({LayerIndex{layer}, ExpertId{expert}, Replica{ShardId{0}, slot++, 1}});
    }
  }
  view->placement = *Placement::Build(Epoch{version_}, {spec_.layer_count, spec_.expert_count},
                                      std::move(placed));
  view->links.resize(1);
  view->links[0] = router::ShardLink{};
  view_ = std::move(view);
}

void FlakyExperts::FailOnce(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  next_ = std::move(status);
}

void FlakyExperts::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

void FlakyExperts::Open() {
  absl::MutexLock lock(&mutex_);
  closed_ = false;
}

void FlakyExperts::AwaitHeld() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&held_));
}

void FlakyExperts::AwaitFailures(size_t count) {
  const auto enough = [this, count]()
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return failures_ >= count; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&enough));
}

size_t FlakyExperts::failures() const {
  absl::MutexLock lock(&mutex_);
  return failures_;
}

absl::StatusOr<router::InFlight> FlakyExperts::Send(LayerIndex layer, const Routed& routed) {
  homeless_rows_.clear();
  return calls_.Send(layer, routed);
}

absl::Status FlakyExperts::Receive(const router::InFlight& calls, MatrixView sum) {
  {
    const auto open = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !closed_; };
    absl::MutexLock lock(&mutex_);
    held_ = closed_;
    mutex_.Await(absl::Condition(&open));
    held_ = false;
    if (!next_.ok()) {
      ++failures_;
      return std::exchange(next_, absl::OkStatus());
    }
    const RoutingView& routing = calls.routed.routing;
    for (size_t row = 0; row < routing.rows; ++row) {
      bool homeless = false;
      for (const uint32_t expert : routing.experts_of(row)) {
        homeless |= lost_.contains({static_cast<uint32_t>(ToIndex(calls.layer)), expert});
      }
      if (homeless) homeless_rows_.push_back(static_cast<uint32_t>(row));
    }
    if (!homeless_rows_.empty()) {
      ++failures_;
      return absl::UnavailableError("nobody holds an expert");
    }
  }
  return calls_.Receive(calls, sum);
}

std::shared_ptr<const router::ClusterView> FlakyExperts::View() const {
  absl::MutexLock lock(&mutex_);
  return view_;
}

}  // namespace tessera::testing
