#pragma once

// Gets the calls of a flight answered, whatever happens on the way: the failure ladder.
//
//   late                 the same rows go to another replica beside the first attempt, or in
//                        pieces to several, or to the same shard again; first answer wins
//   slower than p99      a second copy to an idle replica that holds all of it (hedge)
//   nack                 not_hosted, wrong_version, draining: elsewhere by the newest view, nobody
//                        is blamed; overloaded, late, corrupt: elsewhere or again; failed:
//                        elsewhere
//   corrupted answer     elsewhere or again
//   peer gone            reported to the directory; elsewhere
//   nobody holds it      the directory is asked for it; waits up to homeless_wait
//   late for a while     and no other shard holds it: the directory is asked for copies elsewhere,
//                        which take over when they come; after late_max the step is given up
//   no credit            answers that wait for the others give their slots back; another replica;
//                        or the call waits
//
// A pair is in exactly one call that is not dissolved, and a call takes one answer: nothing is
// added twice, however often it is sent.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/concurrency/idle_poll.h"
#include "common/concurrency/thread_pool.h"
#include "common/metrics/metrics.h"
#include "common/moe/dispatch_plan.h"
#include "common/rpc/retry.h"
#include "common/tracing/trace_context.h"
#include "common/transport/exchange_client.h"
#include "common/wire/call_wire.h"
#include "services/router/balance/expert_meter.h"
#include "services/router/balance/fair_shares.h"
#include "services/router/cluster/shard_directory.h"
#include "services/router/dispatch/dispatch_config.h"
#include "services/router/dispatch/dispatch_metrics.h"
#include "services/router/dispatch/flight.h"
#include "services/router/dispatch/packer.h"
#include "services/router/dispatch/shard_health.h"
#include "services/router/tally/answered_call.h"

namespace tessera::router {

// What dispatch works with. All of it is borrowed and must outlive the exchanger, which abandons
// its calls at `exchange` and tells `directory` about peers until its end. The exchange itself ends
// last: answers that a flight holds lie in its memory until End.
struct DispatchRooms {
  ExchangeClient& exchange;
  ShardDirectory& directory;
  const Clock& clock;
  Registry& registry;
  // Appends what happened at the exchange, waiting up to `timeout` for it. Empty: exchange.Wait.
  // A simulation advances its clock here.
  std::function<void(absl::Duration timeout, std::vector<ExchangeEvent>& events)> wait;
  // The engine's, or null: its idle workers sleep while answers are awaited, as shards of the same
  // box want the cores.
  ThreadPool* pool = nullptr;
  // Where what the gate chose, who answered and what it cost is counted, or null.
  ExpertMeter* meter = nullptr;
  // Told whenever answers are about to be awaited, or null.
  IdlePoll* idle_poll = nullptr;
};

// Owned by the engine thread.
class Exchanger {
 public:
  // `config` and `metrics` must outlive it, too.
  Exchanger(const DispatchConfig& config, DispatchRooms rooms, DispatchMetrics& metrics);

  // See ExpertCalls.
  void BeginStep(std::span<const TraceContext> traces);
  // Plans the flight's layer, notes when that was done, and posts what can be posted. flight.layer
  // and .routed are set, the rest is as after End. kInternal: a call could not be written.
  absl::Status Begin(Flight& flight);
  // Waits for what comes next and acts on it; the flight is done when it is settled.
  //   kUnavailable       nobody came to hold some experts, or a call failed too often or is late
  //                      for too long
  //   kDeadlineExceeded  exchange_timeout passed
  //   kInternal          an answer has a wrong shape
  absl::Status Advance(Flight& flight);
  // Gives up what is on its way and lets go of the answers.
  void End(Flight& flight);
  // Events that came without a flight. Does not wait.
  void LookAround();
  // Tells what was counted since the last one.
  void EndStep();

  // Rows of calls that nobody can take now, or that were given up; ascending, each once.
  void HomelessRows(const Flight& flight, std::vector<uint32_t>& rows) const;

 private:
  struct Shard {
    Shard(const DispatchConfig& config, Registry& registry, ShardId id)
        : health(config), metrics(registry, id) {}
    ShardHealth health;
    ShardMetrics metrics;
    uint64_t incarnation = 0;
    ShardHealth::Breaker breaker_shown = ShardHealth::Breaker::kClosed;
    size_t traces_told = 0;  // of traces_
  };
  // Added to a shard's outstanding rows: it is taken if nobody without the burden will do.
  static constexpr uint32_t kNoSlotRows = 1u << 20;
  static constexpr uint32_t kSuspectRows = 1u << 24;
  enum class Kind : uint8_t { kFirst, kRetry, kHedge };
  // Whether trying again costs a shard work a second time.
  enum class Cost : uint8_t { kFree, kPaid };

  Shard& ShardOf(ShardId id);
  void PlanAll(Flight& flight);
  size_t CountUsable() const;  // shards that WeighShards found to take calls
  // Null: the shard can take nothing.
  const ShardLink* UsableLink(const Flight& flight, ShardId shard, absl::Duration now);
  // Fills weights_, unless they are those of now: what choosing a shard costs, in rows;
  // kShardUnusable if it can take nothing.
  void WeighShards(const Flight& flight, absl::Duration now);
  bool LinkFits(const Flight& flight, const ShardLink& link) const;
  void ShowBreaker(Shard& shard, absl::Duration now);

  // Places and posts all that is due.
  absl::Status Push(Flight& flight, absl::Duration now);
  // False: nobody can take any of it now.
  bool Place(Flight& flight, FlightCall& call, absl::Duration now);
  const Replica* ChooseReplica(const Flight& flight, const FlightCall& call, ExpertId expert) const;
  void SplitCall(Flight& flight, FlightCall& call);
  // Makes whole_ the call's plan for `shard`, with that shard's slots. False: it lacks an expert.
  bool PlanWholeAt(const Flight& flight, const FlightCall& call, ShardId shard);
  // A shard without an attempt of `call` on its way that holds all of its experts, with a weight
  // of at most weight_max; its plan is in whole_.
  std::optional<ShardId> FindWhole(const Flight& flight, const FlightCall& call,
                                   uint32_t weight_max);
  // A shard without an attempt of `call` holds the expert and answers in time.
  bool HasOtherHome(const Flight& flight, const FlightCall& call, ExpertId expert) const;
  bool CanGoElsewhere(const Flight& flight, const FlightCall& call) const;
  // Whether more is to be done for this call at once.
  absl::StatusOr<bool> PostReady(Flight& flight, FlightCall& call, absl::Duration now);
  void CutToFit(Flight& flight, FlightCall& call, const wire::FrameGeometry& geometry);
  // Every expert of the call lives on a shard with a free slot.
  bool HasRoom(const Flight& flight, const FlightCall& call) const;
  // False: the call goes to a shard with room, or in pieces to several.
  bool WaitForCredit(Flight& flight, FlightCall& call, absl::Duration now);
  // kResourceExhausted: no credit; kUnavailable: the peer is gone; kInternal: cannot be.
  absl::Status PostAttempt(Flight& flight, FlightCall& call, const ShardLink& link,
                           const ShardPlan& plan, Kind kind, absl::Duration now);
  void StashAnswers(Flight& flight, PeerId peer);
  void RequestHomeless(Flight& flight);
  // Has shards that are not asked yet load what a late call needs and no other holds.
  void Relocate(Flight& flight, FlightCall& call);
  // Adds the linked shards that hold the expert, as the view says, and get no calls for it, or not
  // this one: a view may be old, its router cut off from the one that knows better.
  void AddUnfit(const Flight& flight, const FlightCall& call, ExpertId expert);
  // Of experts_ and unfit_.
  void AskForUnits(LayerIndex layer);

  absl::Status OnEvent(Flight& flight, ExchangeEvent& event, absl::Duration now);
  absl::Status OnReply(Flight& flight, FlightCall& call, Attempt attempt, ExchangeEvent& event,
                       absl::Duration now);
  void OnNack(FlightCall& call, const Attempt& attempt, wire::NackReason reason,
              absl::Duration now);
  void OnFailed(FlightCall& call, const Attempt& attempt, const absl::Status& status,
                absl::Duration now);
  // The call is tried again after `pause`, or when the budget allows, unless another attempt is on
  // its way and not late yet.
  void Requeue(FlightCall& call, ShardId failed, Cost cost, absl::Duration now,
               absl::Duration pause = absl::ZeroDuration());
  absl::Duration PayForRetry(absl::Duration now);  // when it may go
  void RefreshView(Flight& flight, absl::Duration now);
  absl::Status OnTimers(Flight& flight, absl::Duration now);
  void OnTimersOf(Flight& flight, FlightCall& call, absl::Duration now);
  // It is, or is about to be, on its way to a shard that was not late with it.
  static bool HasHope(const FlightCall& call);
  absl::Duration RelocateAt(const Flight& flight, const FlightCall& call) const;
  // Late for late_max without hope, or waiting for a slot for so long while no answer came.
  bool IsHopeless(const FlightCall& call, absl::Duration now) const;
  absl::Status GiveUpLate(Flight& flight, absl::Duration now);
  absl::Duration CallDue(const FlightCall& call);
  void OnLate(Flight& flight, FlightCall& call, size_t attempt_index, absl::Duration now);
  // All slots are taken, perhaps by attempts that will never be answered: gives up the others, or,
  // if it is alone, this one.
  void FreeSlots(FlightCall& call, size_t kept_index, absl::Duration now);
  absl::Duration OverloadedPause(uint32_t attempts) const;
  void Hedge(Flight& flight, FlightCall& call, absl::Duration now);
  absl::Duration HedgeAt(const FlightCall& call);
  absl::Duration NextDue(const Flight& flight);
  absl::Status HomelessError(const Flight& flight) const;

  const DispatchConfig& config_;
  const DispatchRooms rooms_;
  DispatchMetrics& metrics_;

  std::vector<std::unique_ptr<Shard>> shards_;  // [shard id], null until met
  std::vector<TraceContext> traces_;            // of the step
  RetryBudget retries_;
  RetryBudget hedges_;
  FairShares shares_;
  std::vector<AnsweredCall> answers_;  // of the step

  // Scratch, of the method at work.
  Packer packer_;
  DispatchPlanner planner_;
  DispatchPlan plan_;
  ShardPlan whole_;                    // a call on its way to another shard, or to pieces
  std::vector<uint32_t> weights_;      // [shard id]
  std::vector<ShardId> weighed_ids_;   // of shards that can take something
  std::vector<PeerId> weighed_peers_;  // [weighed_ids_]
  std::vector<PeerLoad> loads_;        // [weighed_ids_]
  bool weighed_ = false;               // weights_ are those of now
  std::vector<uint32_t> piece_of_;     // [segments of the call at hand]
  std::vector<ShardId> pieces_;
  std::vector<ExpertId> experts_;
  std::vector<ShardId> unfit_;
  std::vector<ExchangeEvent> events_;
};

}  // namespace tessera::router
