#include "services/router/dispatch/flight.h"

#include <algorithm>

namespace tessera::router {

bool FlightCall::IsBanned(ShardId shard, uint64_t view_version) const {
  return std::ranges::any_of(
      bans, [&](const Ban& ban) { return ban.shard == shard && ban.view_version == view_version; });
}

bool FlightCall::HasAttemptAt(ShardId shard) const {
  return std::ranges::find(attempts, shard, &Attempt::shard) != attempts.end();
}

void FlightCall::Clear() {
  state = State::kUnplaced;
  plan.rows.clear();
  plan.segments.clear();
  plan.pair_rows.clear();
  plan.pair_weights.clear();
  order.reset();
  split = false;
  attempts.clear();
  posted = 0;
  hedged = false;
  waited_for_credit = false;
  credit_since.reset();
  avoid.reset();
  bans.clear();
  ready_at = absl::ZeroDuration();
  homeless_since.reset();
  requested_in.reset();
  late_since.reset();
  late_shards.clear();
  relocated_in.reset();
  given_up = false;
  answer = ExchangeEvent();
  rows = wire::RowsView();
}

void FlightCall::InheritFrom(const FlightCall& parent) {
  state = parent.state;
  order = parent.order;
  split = parent.split;
  posted = parent.posted;
  avoid = parent.avoid;
  bans = parent.bans;
  ready_at = parent.ready_at;
  late_since = parent.late_since;
  late_shards = parent.late_shards;
}

FlightCall& Flight::AddCall() {
  if (call_count == calls.size()) calls.push_back(std::make_unique<FlightCall>());
  FlightCall& call = *calls[call_count++];
  call.Clear();
  return call;
}

bool Flight::settled() const {
  for (size_t i = 0; i < call_count; ++i) {
    if (!calls[i]->settled()) return false;
  }
  return true;
}

}  // namespace tessera::router
