#pragma once

// Calls that wait for the compute thread. Bounded by the credits their routers were granted.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "common/transport/exchange_server.h"

namespace tessera::expert_shard {

// Urgent is: the higher priority (a retry); then the router that was served longest ago; then the
// earlier deadline; then the earlier arrival. A router with many credits therefore cannot keep the
// others waiting. Owned by the compute thread.
class CallQueue {
 public:
  void Push(IncomingCall call);

  bool empty() const { return calls_.empty(); }
  size_t size() const { return calls_.size(); }
  size_t rows() const { return rows_; }

  // Moves out the calls whose budget has run out by `now`, in the order they came.
  void TakeLate(absl::Duration now, std::vector<IncomingCall>& late);
  // Moves out the most urgent call and, in order of urgency, all others of its layer as long as
  // they have no more than `pairs_max` pairs together. Requires !empty().
  void TakeBatch(size_t pairs_max, std::vector<IncomingCall>& batch);

 private:
  // The most urgent of `layer`, or of all; calls_.size() if there is none.
  size_t MostUrgent(const uint16_t* layer) const;
  bool IsMoreUrgent(const IncomingCall& a, const IncomingCall& b) const;
  uint64_t TurnOf(PeerId peer) const;
  IncomingCall TakeAt(size_t index);

  std::vector<IncomingCall> calls_;  // in the order they came
  size_t rows_ = 0;
  // When a router was last served; forgotten when the queue runs empty: without a backlog nobody
  // waits for his turn.
  absl::flat_hash_map<PeerId, uint64_t> served_;
  uint64_t turn_ = 0;
};

}  // namespace tessera::expert_shard
