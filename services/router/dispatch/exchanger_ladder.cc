// What the exchanger does about answers, refusals, failures and the passing of time.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "services/router/dispatch/exchanger.h"

namespace tessera::router {

absl::Status Exchanger::Advance(Flight& flight) {
  const absl::Duration nap =
      std::max(NextDue(flight) - rooms_.clock.Elapsed(), absl::ZeroDuration());
  events_.clear();
  if (rooms_.idle_poll != nullptr) rooms_.idle_poll->Extend();
  if (rooms_.wait) {
    rooms_.wait(nap, events_);
  } else {
    if (rooms_.pool != nullptr) rooms_.pool->Rest();
    rooms_.exchange.Wait(nap, events_);
  }
  const absl::Duration now = rooms_.clock.Elapsed();
  weighed_ = false;
  absl::Status status;
  for (ExchangeEvent& event : events_) status.Update(OnEvent(flight, event, now));
  events_.clear();
  TESSERA_RETURN_IF_ERROR(status);
  if (flight.settled()) return absl::OkStatus();
  RefreshView(flight, now);
  TESSERA_RETURN_IF_ERROR(OnTimers(flight, now));
  return Push(flight, now);
}

void Exchanger::LookAround() {
  Flight none;
  events_.clear();
  rooms_.exchange.Wait(absl::ZeroDuration(), events_);
  for (ExchangeEvent& event : events_) {
    OnEvent(none, event, rooms_.clock.Elapsed()).IgnoreError();  // no call, no error
  }
  events_.clear();
}

absl::Status Exchanger::OnEvent(Flight& flight, ExchangeEvent& event, absl::Duration now) {
  using Kind = ExchangeEvent::Kind;
  if (event.kind == Kind::kPeerDown) {
    rooms_.directory.ReportDown(event.peer, event.status);
    return absl::OkStatus();
  }
  for (size_t i = 0; i < flight.call_count; ++i) {
    FlightCall& call = *flight.calls[i];
    const auto it = std::find_if(call.attempts.begin(), call.attempts.end(),
                                 [&](const Attempt& a) { return a.id == event.call; });
    if (it == call.attempts.end()) continue;
    const Attempt attempt = *it;
    call.attempts.erase(it);
    switch (event.kind) {
      case Kind::kReply:
        return OnReply(flight, call, attempt, event, now);
      case Kind::kNack:
        OnNack(call, attempt, event.reply.trailer.reason, now);
        break;
      case Kind::kFailed:
        OnFailed(call, attempt, event.status, now);
        break;
      case Kind::kPeerDown:
      case Kind::kPeerDraining:  // Acquire will say so
        break;
    }
    return absl::OkStatus();
  }
  return absl::OkStatus();  // of a call nobody waits for any more
}

absl::Duration Exchanger::OverloadedPause(uint32_t attempts) const {
  return config_.overloaded_pause * static_cast<double>(1u << std::min(attempts - 1, 6u));
}

absl::Status Exchanger::OnReply(Flight& flight, FlightCall& call, Attempt attempt,
                                ExchangeEvent& event, absl::Duration now) {
  const wire::RowsView& rows = event.reply.rows;
  const size_t wanted = config_.strict ? call.plan.pair_rows.size() : call.plan.rows.size();
  const size_t d_model = flight.routed.rows.cols();
  if (rows.rows != wanted || rows.d_model != d_model) {
    return absl::InternalError(absl::StrCat("shard ", ToIndex(attempt.shard), " answered ",
                                            rows.rows, " x ", rows.d_model, " numbers, expected ",
                                            wanted, " x ", d_model));
  }
  for (const Attempt& other : call.attempts) rooms_.exchange.Abandon(other.id);
  call.attempts.clear();
  Shard& shard = ShardOf(attempt.shard);
  shard.health.OnAnswer(call.plan.rows.size(), now - attempt.posted);
  ShowBreaker(shard, now);
  if (attempt.hedge) shard.metrics.hedges_won.Increment();
  const wire::ReplyTrailer& trailer = event.reply.trailer;
  shard.metrics.call_seconds.Observe(absl::ToDoubleSeconds(now - attempt.posted));
  shard.metrics.queue_seconds.Observe(trailer.queue_us * 1e-6);
  shard.metrics.compute_seconds.Observe(trailer.compute_us * 1e-6);
  flight.compute_us = std::max(flight.compute_us, trailer.compute_us);
  const auto experts = static_cast<uint32_t>(call.plan.segments.size());
  answers_.push_back({.layer = flight.layer,
                      .shard = attempt.shard,
                      .pairs = static_cast<uint32_t>(call.plan.pair_rows.size()),
                      .experts = experts,
                      .compute_us = trailer.compute_us,
                      .alone = trailer.experts_touched == experts});
  call.answer = std::move(event);
  call.rows = call.answer.reply.rows;
  call.state = FlightCall::State::kAnswered;
  for (size_t i = 0; i < flight.call_count; ++i) {  // its slot may be what another waits for
    FlightCall& other = *flight.calls[i];
    if (other.state != FlightCall::State::kReady || !other.waited_for_credit) continue;
    other.ready_at = now;
    if (other.credit_since) other.credit_since = now;  // the shards get on
  }
  return absl::OkStatus();
}

absl::Duration Exchanger::PayForRetry(absl::Duration now) {
  if (retries_.TryTake()) return now;
  metrics_.retries_held.Increment();
  return now + config_.retry_pause;
}

void Exchanger::Requeue(FlightCall& call, ShardId failed, Cost cost, absl::Duration now,
                        absl::Duration pause) {
  if (!call.attempts.empty()) {
    // Another one may still be answered. If it is late, this was the help that was sent beside it;
    // the next help is paid for when it goes.
    for (Attempt& other : call.attempts) {
      if (!other.timed_out) continue;
      other.late_at = std::min(other.late_at, now + pause);
      if (cost == Cost::kPaid) other.retry_paid = false;
    }
    return;
  }
  call.state = FlightCall::State::kUnplaced;
  call.avoid = failed;
  call.ready_at = now + pause;
  if (cost == Cost::kPaid) call.ready_at = std::max(call.ready_at, PayForRetry(now));
}

void Exchanger::OnNack(FlightCall& call, const Attempt& attempt, wire::NackReason reason,
                       absl::Duration now) {
  Shard& shard = ShardOf(attempt.shard);
  shard.metrics.nacks[std::min(static_cast<size_t>(reason), kNackReasons - 1)].Increment();
  switch (reason) {
    case wire::NackReason::kNotHosted:
    case wire::NackReason::kWrongVersion:
    case wire::NackReason::kDraining:
    case wire::NackReason::kRefused:
      // The placement was read before it changed: nobody's fault, and free.
      call.bans.push_back({attempt.shard, attempt.view_version});
      return Requeue(call, attempt.shard, Cost::kFree, now);
    case wire::NackReason::kOverloaded:
      return Requeue(call, attempt.shard, Cost::kPaid, now, OverloadedPause(call.posted));
    case wire::NackReason::kFailed:
      shard.health.OnFailure(attempt.posted, now);
      break;
    case wire::NackReason::kNone:
    case wire::NackReason::kLate:
    case wire::NackReason::kCorrupt:
      break;
  }
  ShowBreaker(shard, now);
  Requeue(call, attempt.shard, Cost::kPaid, now);
}

void Exchanger::OnFailed(FlightCall& call, const Attempt& attempt, const absl::Status& status,
                         absl::Duration now) {
  Shard& shard = ShardOf(attempt.shard);
  shard.metrics.failures.Increment();
  if (status.code() == absl::StatusCode::kUnavailable) {
    // The peer is gone, which happens once and is not paid for.
    call.bans.push_back({attempt.shard, attempt.view_version});
    return Requeue(call, attempt.shard, Cost::kFree, now);
  }
  shard.health.OnFailure(attempt.posted, now);
  ShowBreaker(shard, now);
  Requeue(call, attempt.shard, Cost::kPaid, now);
}

void Exchanger::RefreshView(Flight& flight, absl::Duration now) {
  auto view = rooms_.directory.View();
  if (view->version == flight.view->version) return;
  flight.view = std::move(view);
  weighed_ = false;
  WeighShards(flight, now);
  for (size_t i = 0; i < flight.call_count; ++i) {
    FlightCall& call = *flight.calls[i];
    if (call.state == FlightCall::State::kUnplaced && call.attempts.empty() &&
        call.homeless_since) {
      call.ready_at = absl::ZeroDuration();
    }
    for (Attempt& attempt : call.attempts) {
      const ShardLink* link = flight.view->LinkOf(attempt.shard);
      if (link != nullptr && link->peer == attempt.peer) continue;
      // The connection was taken down without a word, or drains: it has little time left.
      attempt.late_at = std::min(attempt.late_at, now + config_.timeout_floor);
    }
    // Whoever came to hold what a late call waits for is asked at once.
    if (call.state != FlightCall::State::kInFlight || !call.late_since) continue;
    if (!FindWhole(flight, call, kSuspectRows - 1) && !CanGoElsewhere(flight, call)) continue;
    const auto late = std::find_if(call.attempts.begin(), call.attempts.end(),
                                   [](const Attempt& attempt) { return attempt.timed_out; });
    if (late != call.attempts.end()) late->late_at = now;
  }
}

absl::Status Exchanger::OnTimers(Flight& flight, absl::Duration now) {
  if (now >= flight.deadline) {
    return absl::DeadlineExceededError(
        absl::StrCat("the experts of layer ", ToIndex(flight.layer), " did not answer within ",
                     absl::FormatDuration(config_.exchange_timeout)));
  }
  bool hopeless = false;
  for (size_t i = 0; i < flight.call_count; ++i) {
    FlightCall& call = *flight.calls[i];
    if (call.state == FlightCall::State::kUnplaced && call.homeless_since &&
        now - *call.homeless_since >= config_.homeless_wait) {
      metrics_.homeless_failures.Increment();
      return HomelessError(flight);
    }
    if (call.state == FlightCall::State::kInFlight) OnTimersOf(flight, call, now);
    hopeless |= IsHopeless(call, now);  // who has found another home by now is not
  }
  return hopeless ? GiveUpLate(flight, now) : absl::OkStatus();
}

void Exchanger::OnTimersOf(Flight& flight, FlightCall& call, absl::Duration now) {
  for (size_t a = 0; a < call.attempts.size(); ++a) {
    if (now < call.attempts[a].late_at) continue;
    OnLate(flight, call, a, now);
    break;  // attempts may have changed; what else is late is met in the next round
  }
  if (call.state != FlightCall::State::kInFlight) return;
  if (now >= HedgeAt(call)) Hedge(flight, call, now);
  if (now >= RelocateAt(flight, call)) {
    WeighShards(flight, now);
    Relocate(flight, call);
  }
}

bool Exchanger::HasHope(const FlightCall& call) {
  // One more at a shard that was late with it gives none.
  const auto is_fresh = [&](ShardId shard) {
    return std::ranges::find(call.late_shards, shard) == call.late_shards.end();
  };
  switch (call.state) {
    case FlightCall::State::kReady:
      return is_fresh(call.plan.shard);
    case FlightCall::State::kInFlight:
      return std::ranges::any_of(call.attempts, is_fresh, &Attempt::shard);
    case FlightCall::State::kUnplaced:  // it will be placed, or homeless_wait ends it
    case FlightCall::State::kAnswered:
    case FlightCall::State::kDissolved:
      break;
  }
  return true;
}

bool Exchanger::IsHopeless(const FlightCall& call, absl::Duration now) const {
  if (call.state == FlightCall::State::kReady && call.credit_since) {
    return now - *call.credit_since >= config_.late_max;
  }
  return call.late_since && now - *call.late_since >= config_.late_max && !HasHope(call);
}

absl::Duration Exchanger::RelocateAt(const Flight& flight, const FlightCall& call) const {
  const bool asked = call.relocated_in == flight.view->version;
  if (call.state != FlightCall::State::kInFlight || !call.late_since || asked || HasHope(call)) {
    return absl::InfiniteDuration();
  }
  return *call.late_since + config_.relocate_after;
}

absl::Status Exchanger::GiveUpLate(Flight& flight, absl::Duration now) {
  metrics_.late_failures.Increment();
  std::vector<size_t> shards;
  for (size_t i = 0; i < flight.call_count; ++i) {
    FlightCall& call = *flight.calls[i];
    if (!IsHopeless(call, now)) continue;
    call.given_up = true;
    if (call.state == FlightCall::State::kReady) shards.push_back(ToIndex(call.plan.shard));
    for (const ShardId shard : call.late_shards) {
      ShardOf(shard).health.OnGivenUp(now - *call.late_since + config_.timeout_floor);
      shards.push_back(ToIndex(shard));
    }
  }
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  return absl::UnavailableError(
      absl::StrCat("calls for layer ", ToIndex(flight.layer), " are late by ",
                   absl::FormatDuration(config_.late_max), " at shard ",
                   absl::StrJoin(shards, ", "), ", and no other holds their experts"));
}

void Exchanger::OnLate(Flight& flight, FlightCall& call, size_t attempt_index, absl::Duration now) {
  const Attempt attempt = call.attempts[attempt_index];
  absl::Duration& late_at = call.attempts[attempt_index].late_at;
  if (!std::exchange(call.attempts[attempt_index].timed_out, true)) {
    Shard& shard = ShardOf(attempt.shard);
    shard.metrics.timeouts.Increment();
    shard.health.OnTimeout(attempt.posted, now);
    ShowBreaker(shard, now);
    if (!call.late_since) call.late_since = now;
    if (std::ranges::find(call.late_shards, attempt.shard) == call.late_shards.end()) {
      call.late_shards.push_back(attempt.shard);
    }
    weighed_ = false;
  }
  WeighShards(flight, now);
  // However often others were asked, one who was not and answers in time is.
  const bool spent = call.posted >= config_.attempts_max;
  const auto other = FindWhole(flight, call, (spent ? kSuspectRows : kShardUnusable) - 1);
  if (spent && !other) {
    late_at = now + config_.timeout_floor;  // late_max ends it
    return;
  }
  if (!std::exchange(call.attempts[attempt_index].retry_paid, true)) {
    if (late_at = PayForRetry(now); late_at > now) return;
  }
  late_at = absl::InfiniteDuration();
  if (other) {
    const ShardLink& link = *flight.view->LinkOf(*other);
    if (PostAttempt(flight, call, link, whole_, Kind::kRetry, now).ok()) return;
  }
  if (CanGoElsewhere(flight, call)) {
    for (const Attempt& each : call.attempts) rooms_.exchange.Abandon(each.id);
    call.attempts.clear();
    return Requeue(call, attempt.shard, Cost::kFree, now);
  }
  const ShardLink* link = flight.view->LinkOf(attempt.shard);
  if (link == nullptr || link->peer != attempt.peer || !PlanWholeAt(flight, call, attempt.shard)) {
    rooms_.exchange.Abandon(attempt.id);
    call.attempts.erase(call.attempts.begin() + static_cast<ptrdiff_t>(attempt_index));
    return Requeue(call, attempt.shard, Cost::kFree, now);
  }
  if (!PostAttempt(flight, call, *link, whole_, Kind::kRetry, now).ok()) {
    FreeSlots(call, attempt_index, now);
  }
}

void Exchanger::FreeSlots(FlightCall& call, size_t kept_index, absl::Duration now) {
  Attempt kept = call.attempts[kept_index];
  const bool alone = call.attempts.size() == 1;
  for (const Attempt& other : call.attempts) {
    if (alone || other.id != kept.id) rooms_.exchange.Abandon(other.id);
  }
  call.attempts.clear();
  if (alone) return Requeue(call, kept.shard, Cost::kFree, now, config_.retry_pause);
  kept.late_at = now + config_.retry_pause;
  call.attempts.push_back(kept);
}

absl::Duration Exchanger::HedgeAt(const FlightCall& call) {
  if (call.hedged || call.attempts.size() != 1 || config_.hedge_share_max == 0) {
    return absl::InfiniteDuration();
  }
  const Attempt& attempt = call.attempts.front();
  return attempt.posted + ShardOf(attempt.shard).health.HedgeAfter(call.plan.rows.size());
}

void Exchanger::Hedge(Flight& flight, FlightCall& call, absl::Duration now) {
  call.hedged = true;  // or never: who is not idle now is not asked again
  WeighShards(flight, now);
  const auto shard = FindWhole(flight, call, /*weight_max=*/0);
  if (!shard || !hedges_.TryTake()) return;
  const ShardLink& link = *flight.view->LinkOf(*shard);
  PostAttempt(flight, call, link, whole_, Kind::kHedge, now).IgnoreError();
}

absl::Duration Exchanger::CallDue(const FlightCall& call) {
  using State = FlightCall::State;
  if (call.state == State::kReady) return call.ready_at;
  if (call.state == State::kUnplaced) {
    return call.homeless_since ? *call.homeless_since + config_.homeless_wait : call.ready_at;
  }
  absl::Duration due = HedgeAt(call);
  for (const Attempt& attempt : call.attempts) due = std::min(due, attempt.late_at);
  return due;
}

absl::Duration Exchanger::NextDue(const Flight& flight) {
  absl::Duration due = flight.deadline;
  for (size_t i = 0; i < flight.call_count; ++i) {
    const FlightCall& call = *flight.calls[i];
    if (call.settled()) continue;
    due = std::min(due, CallDue(call));
    if (!call.late_since) continue;
    const absl::Duration end = *call.late_since + config_.late_max;
    if (IsHopeless(call, end)) due = std::min(due, end);
    due = std::min(due, RelocateAt(flight, call));
  }
  return due;
}

absl::Status Exchanger::HomelessError(const Flight& flight) const {
  std::vector<size_t> experts;
  for (size_t i = 0; i < flight.call_count; ++i) {
    const FlightCall& call = *flight.calls[i];
    if (call.state != FlightCall::State::kUnplaced || !call.homeless_since) continue;
    for (const PlanSegment& segment : call.plan.segments) {
      experts.push_back(ToIndex(segment.expert));
    }
  }
  std::sort(experts.begin(), experts.end());
  experts.erase(std::unique(experts.begin(), experts.end()), experts.end());
  return absl::UnavailableError(absl::StrCat("no live shard holds expert ",
                                             absl::StrJoin(experts, ", "), " of layer ",
                                             ToIndex(flight.layer)));
}

}  // namespace tessera::router
