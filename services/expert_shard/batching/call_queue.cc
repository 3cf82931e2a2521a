#include "services/expert_shard/batching/call_queue.h"

#include <tuple>
#include <utility>

#include "common/base/check.h"

namespace tessera::expert_shard {
namespace {

absl::Duration DeadlineOf(const IncomingCall& call) {
  const uint32_t budget_us = call.call.header.budget_us;
  return budget_us == 0 ? absl::InfiniteDuration()
                        : call.arrived + absl::Microseconds(int64_t{budget_us});
}

}  // namespace

void CallQueue::Push(IncomingCall call) {
  rows_ += call.call.header.rows;
  calls_.push_back(std::move(call));
}

void CallQueue::TakeLate(absl::Duration now, std::vector<IncomingCall>& late) {
  for (size_t i = 0; i < calls_.size();) {
    if (DeadlineOf(calls_[i]) <= now) {
      late.push_back(TakeAt(i));
    } else {
      ++i;
    }
  }
}

void CallQueue::TakeBatch(size_t pairs_max, std::vector<IncomingCall>& batch) {
  TESSERA_CHECK(!calls_.empty());
  size_t next = MostUrgent(nullptr);
  const uint16_t layer = calls_[next].call.header.layer;
  size_t pairs = 0;
  do {
    pairs += calls_[next].call.header.pairs;
    served_[calls_[next].peer] = ++turn_;
    batch.push_back(TakeAt(next));
    next = MostUrgent(&layer);
  } while (next < calls_.size() && pairs + calls_[next].call.header.pairs <= pairs_max);
  if (calls_.empty()) served_.clear();
}

size_t CallQueue::MostUrgent(const uint16_t* layer) const {
  size_t best = calls_.size();
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (layer != nullptr && calls_[i].call.header.layer != *layer) continue;
    if (best == calls_.size() || IsMoreUrgent(calls_[i], calls_[best])) best = i;
  }
  return best;
}

bool CallQueue::IsMoreUrgent(const IncomingCall& a, const IncomingCall& b) const {
  const auto key = [this](const IncomingCall& call) {
    return std::tuple(-int{call.call.header.priority}, TurnOf(call.peer), DeadlineOf(call),
                      call.arrived);
  };
  return key(a) < key(b);
}

uint64_t CallQueue::TurnOf(PeerId peer) const {
  const auto it = served_.find(peer);
  return it == served_.end() ? 0 : it->second;
}

IncomingCall CallQueue::TakeAt(size_t index) {
  IncomingCall call = std::move(calls_[index]);
  calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(index));
  rows_ -= call.call.header.rows;
  return call;
}

}  // namespace tessera::expert_shard
