#pragma once

// All that is known about the calls of one layer of one step, from Send to Receive.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/moe/dispatch_plan.h"
#include "common/moe/routing.h"
#include "common/transport/exchange_client.h"
#include "services/router/cluster/shard_directory.h"

namespace tessera::router {

// One message on its way. Times are Clock::Elapsed().
struct Attempt {
  CallId id{};
  PeerId peer{};
  ShardId shard{};
  absl::Duration posted;
  absl::Duration late_at;  // infinite: nothing more is done about it while others are on their way
  uint64_t view_version = 0;  // it was posted by; its refusal says nothing about a newer one
  bool hedge = false;
  bool timed_out = false;
  bool retry_paid = false;  // from the budget, or by a pause
};

// Some pairs of the step that travel together. All attempts of a call compute the same rows in the
// same order, so the first answer ends it.
//
//   unplaced ──place──► ready ──post──► in flight ──reply──► answered
//      ▲ │                 ▲ └─── peer gone ─┐  │
//      │ └─ in pieces ─► dissolved           │  │
//      └──────── nack, failure, peer down ◄──┴──┘
struct FlightCall {
  enum class State : uint8_t {
    kUnplaced,   // no shard chosen
    kReady,      // to be posted to plan.shard
    kInFlight,   // attempts are on their way
    kAnswered,   // `rows` are there
    kDissolved,  // its pairs are in other calls
  };
  State state = State::kUnplaced;
  ShardPlan plan;
  std::optional<ShardId> order;   // where the first plan put it; parts of a row are added in this
                                  // order wherever they were computed in the end
  bool split = false;             // others of the same order may have the same rows
  std::vector<Attempt> attempts;  // on their way
  uint32_t posted = 0;            // attempts so far, those of the call it was cut from included
  bool hedged = false;
  bool waited_for_credit = false;
  std::optional<absl::Duration> credit_since;  // waits for one, and no answer came since then
  std::optional<ShardId> avoid;                // failed last: taken if nobody else will do

  // Shards that cannot take it as long as the view is this one.
  struct Ban {
    ShardId shard{};
    uint64_t view_version = 0;
  };
  std::vector<Ban> bans;
  absl::Duration ready_at;                       // not placed or posted before
  std::optional<absl::Duration> homeless_since;  // nobody can take it
  std::optional<uint64_t> requested_in;          // view in which its experts were asked for
  std::optional<absl::Duration> late_since;      // an attempt of it was late then, the first
  std::vector<ShardId> late_shards;              // were late with it, each once
  std::optional<uint64_t> relocated_in;          // view in which others were asked to load for it
  bool given_up = false;                         // it is why the flight failed

  ExchangeEvent answer;          // holds the memory of `rows`, unless
  std::vector<std::byte> stash;  // its slot was needed: then they were copied here
  wire::RowsView rows;           // [plan.rows or, in strict mode, plan.pair_rows; d_model]

  bool settled() const { return state == State::kAnswered || state == State::kDissolved; }
  bool IsBanned(ShardId shard, uint64_t view_version) const;
  bool HasAttemptAt(ShardId shard) const;
  // As new, memory kept.
  void Clear();
  // A part of `parent` goes on where that one stands.
  void InheritFrom(const FlightCall& parent);
};

struct Flight {
  uint64_t ticket = 0;  // 0: none
  LayerIndex layer{};
  Routed routed;
  std::shared_ptr<const ClusterView> view;  // the newest looked at
  absl::Duration started;                   // when planning began
  absl::Duration planned;                   // when it was known which rows go where
  absl::Duration deadline;

  // Reused from flight to flight: the first call_count belong to this one.
  std::vector<std::unique_ptr<FlightCall>> calls;
  size_t call_count = 0;
  uint32_t compute_us = 0;  // of the shard that computed longest so far

  // Stays where it is.
  FlightCall& AddCall();
  bool settled() const;  // every pair is answered
};

}  // namespace tessera::router
