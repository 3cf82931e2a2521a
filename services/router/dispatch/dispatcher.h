#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tensor/matrix_view.h"
#include "services/router/dispatch/combiner.h"
#include "services/router/dispatch/dispatch_config.h"
#include "services/router/dispatch/dispatch_metrics.h"
#include "services/router/dispatch/exchanger.h"
#include "services/router/dispatch/expert_calls.h"
#include "services/router/dispatch/flight.h"

namespace tessera::router {

// Sends each row of a layer to the shards that hold its experts and adds the answers up.
//
//   routed ─PlanDispatch─► per shard ─cut to rows_max─► calls ─Post─► (shards) ─► answers ─► sum
//            placement and links: one view            failures: see exchanger.h
//
// Owned by the engine thread, like the events of its ExchangeClient. One flight at a time: what a
// Send began and no Receive took is given up by the next Send.
class Dispatcher final : public ExpertCalls {
 public:
  // `config` is valid; all that `rooms` names must outlive this object.
  Dispatcher(const DispatchConfig& config, const DispatchRooms& rooms);
  ~Dispatcher() override;

  void BeginStep(std::span<const TraceContext> traces) override { exchanger_.BeginStep(traces); }

  // Plans by the newest view and posts the calls. Experts that nobody holds are asked for at once
  // and waited for in Receive. kInternal: a call could not be written.
  absl::StatusOr<InFlight> Send(LayerIndex layer, const Routed& routed) override;

  // Returns when every pair is answered, or:
  //   kUnavailable       experts without a live shard for homeless_wait (named), a call that is
  //                      late by late_max, or failed attempts_max times; see homeless_rows
  //   kDeadlineExceeded  exchange_timeout passed
  //   kInternal          an answer of a wrong shape
  // Nothing is on its way after an error, and `sum` is unchanged.
  absl::Status Receive(const InFlight& calls, MatrixView sum) override;

  void EndStep() override;

  std::span<const uint32_t> homeless_rows() const override { return homeless_rows_; }

  // Takes note of shards that went while no step ran, and gives up what a Send began and no Receive
  // took. To be called while the engine idles; returns at once.
  void LookAround();

 private:
  const DispatchConfig config_;
  const Clock& clock_;
  DispatchMetrics metrics_;
  Exchanger exchanger_;
  Combiner combiner_;

  Flight flight_;
  uint64_t last_ticket_ = 0;
  std::vector<uint32_t> homeless_rows_;
};

}  // namespace tessera::router
