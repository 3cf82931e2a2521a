#pragma once

// What the engine asks of the experts of one layer, wherever they live.

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/moe/routing.h"
#include "common/tensor/matrix_view.h"
#include "common/tracing/trace_context.h"

namespace tessera::router {

// Calls under way for one layer of one step: Send's answer, Receive's question. Views in `routed`
// stay valid until Receive has returned.
struct InFlight {
  LayerIndex layer{};
  Routed routed;
  uint64_t ticket = 0;  // of the implementation: which flight this is
};

// Owned by the engine thread.
class ExpertCalls {
 public:
  virtual ~ExpertCalls() = default;

  // A step begins. Whoever computes its experts is told of each of these traces once, with calls
  // that go there anyway: a call carries one trace at most. Nothing is said where experts are here.
  virtual void BeginStep(std::span<const TraceContext> /*traces*/) {}

  // Sets the calls of one layer going and returns at once where experts are elsewhere.
  // kUnavailable: no live shard holds a needed expert; the step may be retried.
  virtual absl::StatusOr<InFlight> Send(LayerIndex layer, const Routed& routed) = 0;

  // Waits for the answers: sum.row(r) = sum over the row's experts of weight * expert(row), added
  // in an order that depends on the row and the placement only. sum [rows, d_model]. kUnavailable,
  // kDeadlineExceeded: the step may be retried. kInternal: a wrong answer, never retried.
  virtual absl::Status Receive(const InFlight& calls, MatrixView sum) = 0;

  // The step's layers are over, well or not: what was counted in them is told to whoever reads
  // metrics. Before anybody learns of the step's end.
  virtual void EndStep() {}

  // After Receive returned kUnavailable: the rows of the step whose experts nobody holds, or nobody
  // answers for, ascending. The others were answered or could be: the next step may go on without
  // these. Valid until the next Send.
  virtual std::span<const uint32_t> homeless_rows() const { return {}; }
};

}  // namespace tessera::router
