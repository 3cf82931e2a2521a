#include "services/router/cluster/drain_watch.h"

#include <iterator>

namespace tessera::router {

void DrainWatch::Asked(ShardId shard, uint64_t incarnation, absl::Duration now) {
  Wish& wish = wishes_[shard];
  if (wish.incarnation != incarnation) wish = {.incarnation = incarnation};
  wish.asked_at = now;
}

void DrainWatch::StillAsked(ShardId shard, uint64_t incarnation, absl::Duration now) {
  const auto it = wishes_.find(shard);
  if (it != wishes_.end() && it->second.incarnation == incarnation) it->second.asked_at = now;
}

void DrainWatch::Released(ShardId shard, uint64_t incarnation) {
  const auto it = wishes_.find(shard);
  if (it != wishes_.end() && it->second.incarnation == incarnation) it->second.released = true;
}

std::vector<ShardId> DrainWatch::TakeUnfinished(const Find& find, absl::Duration now) {
  std::vector<ShardId> unfinished;
  for (auto it = wishes_.begin(); it != wishes_.end();) {
    const auto& [id, wish] = *it;
    const wire::ShardDescriptor* shard = find(id);
    const bool gone = shard == nullptr || shard->incarnation != wish.incarnation;
    const bool leaves = gone || shard->state == wire::ShardState::kDraining;
    if (leaves && !wish.released) unfinished.push_back(id);
    it = leaves || now - wish.asked_at > memory_ ? wishes_.erase(it) : std::next(it);
  }
  return unfinished;
}

}  // namespace tessera::router
