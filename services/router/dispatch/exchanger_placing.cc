// Where a call of the exchanger can go, whole or in pieces, and what is asked for if nobody holds
// its experts.

#include <algorithm>
#include <utility>

#include "services/router/dispatch/exchanger.h"

namespace tessera::router {
namespace {

constexpr uint32_t kAvoidRows = 1u << 26;
constexpr uint32_t kNobody = kShardUnusable;

}  // namespace

const Replica* Exchanger::ChooseReplica(const Flight& flight, const FlightCall& call,
                                        ExpertId expert) const {
  const Replica* best = nullptr;
  uint64_t best_cost = 0;
  for (const Replica& replica : flight.view->placement.replicas(flight.layer, expert)) {
    const uint32_t weight = weights_[ToIndex(replica.shard)];
    if (weight == kShardUnusable) continue;
    if (call.IsBanned(replica.shard, flight.view->version)) continue;
    uint64_t cost = weight + uint64_t{call.avoid == replica.shard ? kAvoidRows : 0};
    // Sticky: a shard that gets the row anyway computes one expert more of it for little.
    const bool taken = std::find(pieces_.begin(), pieces_.end(), replica.shard) != pieces_.end();
    if (taken && cost < kNoSlotRows) cost = 0;
    if (best == nullptr || cost < best_cost) {
      best = &replica;
      best_cost = cost;
    }
  }
  return best;
}

bool Exchanger::Place(Flight& flight, FlightCall& call, absl::Duration now) {
  WeighShards(flight, now);
  const size_t segments = call.plan.segments.size();
  pieces_.clear();
  piece_of_.assign(segments, kNobody);
  bool all = true;
  for (size_t s = 0; s < segments; ++s) {
    const Replica* replica = ChooseReplica(flight, call, call.plan.segments[s].expert);
    all &= replica != nullptr;
    if (replica == nullptr) continue;
    const auto it = std::find(pieces_.begin(), pieces_.end(), replica->shard);
    piece_of_[s] = static_cast<uint32_t>(it - pieces_.begin());
    if (it == pieces_.end()) pieces_.push_back(replica->shard);
    call.plan.segments[s].slot = replica->slot;
    call.plan.segments[s].weights_version = replica->weights_version;
  }
  if (!all && !call.homeless_since) call.homeless_since = now;
  if (pieces_.empty()) return false;
  if (all && pieces_.size() == 1) {
    if (!call.order) call.order = pieces_[0];
    call.plan.shard = pieces_[0];
    call.homeless_since.reset();
    call.state = FlightCall::State::kReady;
    return true;
  }
  SplitCall(flight, call);
  return false;
}

void Exchanger::SplitCall(Flight& flight, FlightCall& call) {
  std::swap(whole_, call.plan);
  for (uint32_t p = 0; p < pieces_.size(); ++p) {
    FlightCall& part = flight.AddCall();
    part.InheritFrom(call);
    packer_.TakeSegments(whole_, piece_of_, p, part.plan);
    part.plan.shard = pieces_[p];
    part.split = call.order.has_value();
    if (!part.order) part.order = pieces_[p];
    part.state = FlightCall::State::kReady;
  }
  if (std::find(piece_of_.begin(), piece_of_.end(), kNobody) != piece_of_.end()) {
    packer_.TakeSegments(whole_, piece_of_, kNobody, call.plan);
    call.split = call.order.has_value();
  } else {
    call.state = FlightCall::State::kDissolved;
  }
}

bool Exchanger::PlanWholeAt(const Flight& flight, const FlightCall& call, ShardId shard) {
  whole_ = call.plan;
  whole_.shard = shard;
  for (PlanSegment& segment : whole_.segments) {
    const auto replicas = flight.view->placement.replicas(flight.layer, segment.expert);
    const auto replica =
        std::find_if(replicas.begin(), replicas.end(),
                     [&](const Replica& candidate) { return candidate.shard == shard; });
    // Another version would answer otherwise than the attempt it runs beside.
    if (replica == replicas.end() || replica->weights_version != segment.weights_version) {
      return false;
    }
    segment.slot = replica->slot;
  }
  return true;
}

std::optional<ShardId> Exchanger::FindWhole(const Flight& flight, const FlightCall& call,
                                            uint32_t weight_max) {
  const Placement& placement = flight.view->placement;
  std::optional<ShardId> best;
  for (const Replica& first : placement.replicas(flight.layer, call.plan.segments.front().expert)) {
    const ShardId shard = first.shard;
    const uint32_t weight = weights_[ToIndex(shard)];
    if (weight == kShardUnusable || weight > weight_max || call.HasAttemptAt(shard)) continue;
    if (call.IsBanned(shard, flight.view->version)) continue;
    if (best && weights_[ToIndex(*best)] <= weight) continue;
    if (PlanWholeAt(flight, call, shard)) best = shard;
  }
  if (best) PlanWholeAt(flight, call, *best);
  return best;
}

bool Exchanger::HasOtherHome(const Flight& flight, const FlightCall& call, ExpertId expert) const {
  const auto replicas = flight.view->placement.replicas(flight.layer, expert);
  return std::any_of(replicas.begin(), replicas.end(), [&](const Replica& replica) {
    return weights_[ToIndex(replica.shard)] < kSuspectRows && !call.HasAttemptAt(replica.shard) &&
           !call.IsBanned(replica.shard, flight.view->version);
  });
}

bool Exchanger::CanGoElsewhere(const Flight& flight, const FlightCall& call) const {
  const auto& segments = call.plan.segments;
  return std::all_of(segments.begin(), segments.end(), [&](const PlanSegment& segment) {
    return HasOtherHome(flight, call, segment.expert);
  });
}

bool Exchanger::HasRoom(const Flight& flight, const FlightCall& call) const {
  return std::ranges::all_of(call.plan.segments, [&](const PlanSegment& segment) {
    const auto replicas = flight.view->placement.replicas(flight.layer, segment.expert);
    return std::ranges::any_of(replicas, [&](const Replica& replica) {
      return weights_[ToIndex(replica.shard)] < kNoSlotRows &&
             !call.IsBanned(replica.shard, flight.view->version);
    });
  });
}

void Exchanger::RequestHomeless(Flight& flight) {
  experts_.clear();
  unfit_.clear();
  for (size_t i = 0; i < flight.call_count; ++i) {
    FlightCall& call = *flight.calls[i];
    if (call.state != FlightCall::State::kUnplaced || !call.homeless_since) continue;
    if (call.requested_in == flight.view->version) continue;
    call.requested_in = flight.view->version;
    for (const PlanSegment& segment : call.plan.segments) {
      experts_.push_back(segment.expert);
      AddUnfit(flight, call, segment.expert);
    }
  }
  AskForUnits(flight.layer);
}

void Exchanger::AddUnfit(const Flight& flight, const FlightCall& call, ExpertId expert) {
  for (const Replica& replica : flight.view->placement.replicas(flight.layer, expert)) {
    if (flight.view->LinkOf(replica.shard) == nullptr) continue;
    const bool unfit = weights_[ToIndex(replica.shard)] >= kSuspectRows ||
                       call.IsBanned(replica.shard, flight.view->version);
    if (unfit) unfit_.push_back(replica.shard);
  }
}

void Exchanger::AskForUnits(LayerIndex layer) {
  if (experts_.empty()) return;
  std::sort(experts_.begin(), experts_.end());
  experts_.erase(std::unique(experts_.begin(), experts_.end()), experts_.end());
  std::sort(unfit_.begin(), unfit_.end());
  unfit_.erase(std::unique(unfit_.begin(), unfit_.end()), unfit_.end());
  rooms_.directory.RequestUnits(layer, experts_, unfit_);
}

void Exchanger::Relocate(Flight& flight, FlightCall& call) {
  call.relocated_in = flight.view->version;
  experts_.clear();
  unfit_.clear();
  for (const Attempt& attempt : call.attempts) unfit_.push_back(attempt.shard);
  for (const PlanSegment& segment : call.plan.segments) {
    if (HasOtherHome(flight, call, segment.expert)) continue;
    experts_.push_back(segment.expert);
    AddUnfit(flight, call, segment.expert);
  }
  if (!experts_.empty()) metrics_.relocations.Increment();
  AskForUnits(flight.layer);
}

void Exchanger::HomelessRows(const Flight& flight, std::vector<uint32_t>& rows) const {
  rows.clear();
  for (size_t i = 0; i < flight.call_count; ++i) {
    const FlightCall& call = *flight.calls[i];
    const bool homeless = call.state == FlightCall::State::kUnplaced && call.homeless_since;
    if (!homeless && !call.given_up) continue;
    rows.insert(rows.end(), call.plan.rows.begin(), call.plan.rows.end());
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
}

}  // namespace tessera::router
