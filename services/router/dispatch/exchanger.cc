#include "services/router/dispatch/exchanger.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::router {
Exchanger::Exchanger(const DispatchConfig& config, DispatchRooms rooms, DispatchMetrics& metrics)
    : config_(config),
      rooms_(std::move(rooms)),
      metrics_(metrics),
      retries_(
          {.retries_per_call = config.retry_share, .retries_saved_max = config.retries_saved_max}),
      hedges_({.retries_per_call = config.hedge_share_max, .retries_at_start = 0}) {}

Exchanger::Shard& Exchanger::ShardOf(ShardId id) {
  const size_t index = ToIndex(id);
  if (index >= shards_.size()) shards_.resize(index + 1);
  if (shards_[index] == nullptr) {
    shards_[index] = std::make_unique<Shard>(config_, rooms_.registry, id);
  }
  return *shards_[index];
}

void Exchanger::BeginStep(std::span<const TraceContext> traces) {
  if (traces.empty() && traces_.empty()) return;
  traces_.assign(traces.begin(), traces.end());
  for (const auto& shard : shards_) {
    if (shard != nullptr) shard->traces_told = 0;
  }
}

absl::Status Exchanger::Begin(Flight& flight) {
  flight.started = rooms_.clock.Elapsed();
  flight.planned = flight.started;  // if nothing was chosen there is nothing to plan
  flight.view = rooms_.directory.View();
  flight.deadline = flight.started + config_.exchange_timeout;
  flight.call_count = 0;
  flight.compute_us = 0;
  if (flight.routed.routing.experts.empty()) return absl::OkStatus();
  weighed_ = false;
  WeighShards(flight, flight.started);
  PlanAll(flight);
  flight.planned = rooms_.clock.Elapsed();
  return Push(flight, flight.planned);
}

void Exchanger::PlanAll(Flight& flight) {
  const RoutingView& routing = flight.routed.routing;
  const Placement& placement = flight.view->placement;
  plan_.homeless.clear();
  if (*std::max_element(routing.experts.begin(), routing.experts.end()) <
      placement.shape().expert_count) {
    planner_.Plan(flight.layer, routing, placement,
                  shares_.Choice(flight.layer, weights_, flight.ticket), plan_);
  } else {  // no placement yet: nobody holds anything
    plan_.shards.clear();
    for (const uint32_t expert : routing.experts) plan_.homeless.push_back(ExpertId{expert});
    std::sort(plan_.homeless.begin(), plan_.homeless.end());
    plan_.homeless.erase(std::unique(plan_.homeless.begin(), plan_.homeless.end()),
                         plan_.homeless.end());
  }
  if (rooms_.meter != nullptr && rooms_.meter->recorder != nullptr) {
    rooms_.meter->recorder->Record(flight.layer, routing);
  }
  if (rooms_.meter != nullptr) rooms_.meter->tally.SetShardCount(CountUsable());
  for (ShardPlan& plan : plan_.shards) {
    FlightCall& call = flight.AddCall();
    std::swap(call.plan, plan);
    call.order = call.plan.shard;
    call.state = FlightCall::State::kReady;
  }
  if (!plan_.homeless.empty()) {
    metrics_.homeless_layers.Increment();
    packer_.CollectPairs(routing, plan_.homeless, flight.AddCall().plan);
  }
}

size_t Exchanger::CountUsable() const {
  return static_cast<size_t>(
      std::ranges::count_if(weights_, [](uint32_t weight) { return weight != kShardUnusable; }));
}

bool Exchanger::LinkFits(const Flight& flight, const ShardLink& link) const {
  return link.geometry.d_model == flight.routed.rows.cols() &&
         link.geometry.strict == config_.strict;
}

void Exchanger::ShowBreaker(Shard& shard, absl::Duration now) {
  const ShardHealth::Breaker breaker = shard.health.breaker(now);
  if (breaker == std::exchange(shard.breaker_shown, breaker)) return;
  shard.metrics.breaker.Set(static_cast<double>(breaker));
}

const ShardLink* Exchanger::UsableLink(const Flight& flight, ShardId id, absl::Duration now) {
  const ShardLink* link = flight.view->LinkOf(id);
  if (link == nullptr || !LinkFits(flight, *link)) return nullptr;
  Shard& shard = ShardOf(id);
  if (std::exchange(shard.incarnation, link->incarnation) != link->incarnation) {
    shard.health.Reset();
  }
  ShowBreaker(shard, now);
  return shard.health.breaker(now) == ShardHealth::Breaker::kOpen ? nullptr : link;
}

void Exchanger::WeighShards(const Flight& flight, absl::Duration now) {
  if (std::exchange(weighed_, true)) return;
  const Placement& placement = flight.view->placement;
  weights_.assign(placement.shard_bound(), kShardUnusable);
  weighed_ids_.clear();
  weighed_peers_.clear();
  for (const ShardId id : placement.shards()) {
    const ShardLink* link = UsableLink(flight, id, now);
    if (link == nullptr) continue;
    weighed_ids_.push_back(id);
    weighed_peers_.push_back(link->peer);
  }
  loads_.resize(weighed_ids_.size());
  rooms_.exchange.LoadsOf(weighed_peers_, loads_);
  for (size_t i = 0; i < loads_.size(); ++i) {
    uint32_t weight = std::min(loads_[i].rows + loads_[i].rows_queued, kNoSlotRows - 1);
    if (loads_[i].slots_free == 0) weight += kNoSlotRows;
    if (ShardOf(weighed_ids_[i]).health.suspect(now)) weight += kSuspectRows;
    weights_[ToIndex(weighed_ids_[i])] = weight;
  }
}

absl::Status Exchanger::Push(Flight& flight, absl::Duration now) {
  using State = FlightCall::State;
  bool homeless = false;
  for (size_t i = 0; i < flight.call_count; ++i) {  // grows when calls are cut
    FlightCall& call = *flight.calls[i];
    bool go_on = true;
    while (go_on && now >= call.ready_at) {
      go_on = false;
      if (call.state == State::kUnplaced) {
        if (call.posted >= config_.attempts_max) {
          call.given_up = true;
          return absl::UnavailableError(absl::StrCat("a call for layer ", ToIndex(flight.layer),
                                                     " failed ", call.posted, " times"));
        }
        go_on = Place(flight, call, now);
        homeless |= call.state == State::kUnplaced;
      } else if (call.state == State::kReady) {
        TESSERA_ASSIGN_OR_RETURN(go_on, PostReady(flight, call, now));
      }
    }
  }
  if (homeless) RequestHomeless(flight);
  return absl::OkStatus();
}

absl::StatusOr<bool> Exchanger::PostReady(Flight& flight, FlightCall& call, absl::Duration now) {
  const ShardLink* link = flight.view->LinkOf(call.plan.shard);
  if (link == nullptr || !LinkFits(flight, *link)) {
    call.state = FlightCall::State::kUnplaced;
    return true;
  }
  CutToFit(flight, call, link->geometry);
  const Kind kind = call.posted == 0 ? Kind::kFirst : Kind::kRetry;
  const absl::Status status = PostAttempt(flight, call, *link, call.plan, kind, now);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      call.state = FlightCall::State::kInFlight;
      call.credit_since.reset();
      return false;
    case absl::StatusCode::kResourceExhausted:
      return !WaitForCredit(flight, call, now);
    case absl::StatusCode::kUnavailable:  // gone or draining; a newer view will say so
      call.bans.push_back({call.plan.shard, flight.view->version});
      call.state = FlightCall::State::kUnplaced;
      return true;
    default:
      return status;
  }
}

void Exchanger::CutToFit(Flight& flight, FlightCall& call, const wire::FrameGeometry& geometry) {
  const Packer::CallLimits limits{geometry.rows_max, geometry.pairs_max};
  if (Packer::Fits(call.plan, limits)) return;
  std::swap(whole_, call.plan);
  const size_t first_end = packer_.CutEnd(whole_, limits, 0);
  packer_.TakeRows(whole_, 0, first_end, call.plan);
  for (size_t begin = first_end; begin < whole_.rows.size();) {
    const size_t end = packer_.CutEnd(whole_, limits, begin);
    FlightCall& part = flight.AddCall();
    part.InheritFrom(call);
    packer_.TakeRows(whole_, begin, end, part.plan);
    begin = end;
  }
}

bool Exchanger::WaitForCredit(Flight& flight, FlightCall& call, absl::Duration now) {
  if (!std::exchange(call.waited_for_credit, true)) {
    ShardOf(call.plan.shard).metrics.credit_waits.Increment();
  }
  weighed_ = false;  // whoever has room is asked now
  WeighShards(flight, now);
  if (FindWhole(flight, call, kNoSlotRows - 1)) {
    std::swap(whole_, call.plan);  // another shard has room for all of it
    return false;
  }
  if (HasRoom(flight, call)) {
    call.state = FlightCall::State::kUnplaced;
    return false;
  }
  if (!call.credit_since) call.credit_since = now;
  call.ready_at = now + config_.credit_poll;
  return true;
}

void Exchanger::StashAnswers(Flight& flight, PeerId peer) {
  for (size_t i = 0; i < flight.call_count; ++i) {
    FlightCall& call = *flight.calls[i];
    if (call.state != FlightCall::State::kAnswered || call.answer.peer != peer) continue;
    if (call.rows.data == call.stash.data()) continue;
    const size_t bytes = call.rows.rows * call.rows.d_model * wire::SizeOf(call.rows.dtype);
    call.stash.assign(call.rows.data, call.rows.data + bytes);
    call.rows.data = call.stash.data();
    call.answer.memory = HeldFrame();
  }
}

absl::Status Exchanger::PostAttempt(Flight& flight, FlightCall& call, const ShardLink& link,
                                    const ShardPlan& plan, Kind kind, absl::Duration now) {
  auto slot = rooms_.exchange.Acquire(link.peer);
  if (slot.status().code() == absl::StatusCode::kResourceExhausted && kind != Kind::kHedge) {
    StashAnswers(flight, link.peer);
    slot = rooms_.exchange.Acquire(link.peer);
  }
  if (!slot.ok()) return slot.status();
  Shard& shard = ShardOf(link.shard);
  const absl::Duration timeout = shard.health.Timeout(plan.rows.size(), call.posted);
  wire::CallOptions options;
  options.layer = flight.layer;
  options.epoch = flight.view->placement.epoch();
  options.budget_us = static_cast<uint32_t>(
      std::clamp<int64_t>(absl::ToInt64Microseconds(timeout), 1, int64_t{1} << 31));
  options.attempt = static_cast<uint8_t>(std::min(call.posted, 255u));
  options.priority = options.attempt;
  if (kind == Kind::kHedge) options.flags |= wire::kHedge;
  if (kind == Kind::kRetry) options.flags |= wire::kRetry;
  if (shard.traces_told < traces_.size()) options.trace = &traces_[shard.traces_told];
  const auto header =
      wire::WriteCall(link.geometry, options, plan, flight.routed.rows, slot->frame);
  if (!header.ok()) {
    rooms_.exchange.Return(*slot);
    return absl::InternalError(header.status().message());
  }
  const auto id = rooms_.exchange.Post(*slot, *header);
  if (!id.ok()) return id.status();
  call.attempts.push_back(
      {*id, link.peer, link.shard, now, now + timeout, flight.view->version, kind == Kind::kHedge});
  ++call.posted;
  if (options.trace != nullptr) ++shard.traces_told;
  weighed_ = false;  // its load is another now
  shard.metrics.calls.Add();
  shard.metrics.rows.Add(static_cast<double>(plan.rows.size()));
  shard.metrics.pairs.Add(static_cast<double>(plan.pair_rows.size()));
  shard.metrics.experts.Add(static_cast<double>(plan.segments.size()));
  if (kind == Kind::kHedge) shard.metrics.hedges.Increment();
  if (kind == Kind::kRetry) shard.metrics.retries.Increment();
  if (kind == Kind::kFirst) {
    retries_.Count();
    hedges_.Count();
  }
  return absl::OkStatus();
}

void Exchanger::EndStep() {
  for (const std::unique_ptr<Shard>& shard : shards_) {
    if (shard != nullptr) shard->metrics.Commit();
  }
  for (const AnsweredCall& answer : answers_) shares_.Note(answer);
  if (rooms_.meter != nullptr) {
    rooms_.meter->Count(answers_);
    shares_.Learn(rooms_.meter->costs);
  }
  answers_.clear();
}

void Exchanger::End(Flight& flight) {
  for (size_t i = 0; i < flight.call_count; ++i) {
    for (const Attempt& attempt : flight.calls[i]->attempts) rooms_.exchange.Abandon(attempt.id);
    flight.calls[i]->Clear();
  }
  flight.call_count = 0;
  flight.view = nullptr;
  flight.ticket = 0;
}

}  // namespace tessera::router
