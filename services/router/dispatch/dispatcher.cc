#include "services/router/dispatch/dispatcher.h"

#include "common/base/check.h"

namespace tessera::router {

Dispatcher::Dispatcher(const DispatchConfig& config, const DispatchRooms& rooms)
    : config_(config),
      clock_(rooms.clock),
      metrics_(rooms.registry),
      exchanger_(config_, rooms, metrics_) {}

Dispatcher::~Dispatcher() { exchanger_.End(flight_); }

absl::StatusOr<InFlight> Dispatcher::Send(LayerIndex layer, const Routed& routed) {
  TESSERA_CHECK(routed.rows.rows() == routed.routing.rows);
  exchanger_.End(flight_);
  homeless_rows_.clear();
  flight_.ticket = ++last_ticket_;
  flight_.layer = layer;
  flight_.routed = routed;
  if (absl::Status status = exchanger_.Begin(flight_); !status.ok()) {
    exchanger_.End(flight_);
    return status;
  }
  const absl::Duration posted = clock_.Elapsed();
  metrics_.dispatch_seconds.Observe(absl::ToDoubleSeconds(posted - flight_.started));
  LayerDispatchSeconds& of_layer = metrics_.OfLayer(layer);
  of_layer.plan.Add(absl::ToDoubleSeconds(flight_.planned - flight_.started));
  of_layer.post.Add(absl::ToDoubleSeconds(posted - flight_.planned));
  return InFlight{layer, routed, last_ticket_};
}

absl::Status Dispatcher::Receive(const InFlight& calls, MatrixView sum) {
  TESSERA_CHECK(calls.ticket == flight_.ticket && calls.ticket != 0);
  TESSERA_CHECK(sum.rows() == flight_.routed.rows.rows() &&
                sum.cols() == flight_.routed.rows.cols());
  const absl::Duration start = clock_.Elapsed();
  while (!flight_.settled()) {
    if (absl::Status status = exchanger_.Advance(flight_); !status.ok()) {
      exchanger_.HomelessRows(flight_, homeless_rows_);
      exchanger_.End(flight_);
      return status;
    }
  }
  const absl::Duration answered = clock_.Elapsed();
  LayerDispatchSeconds& of_layer = metrics_.OfLayer(flight_.layer);
  metrics_.wait_seconds.Observe(absl::ToDoubleSeconds(answered - start));
  of_layer.wait.Add(absl::ToDoubleSeconds(answered - start));
  of_layer.compute.Add(flight_.compute_us * 1e-6);
  if (config_.strict) {
    combiner_.SumPairs(flight_, sum);
  } else {
    combiner_.SumParts(flight_, sum);
  }
  exchanger_.End(flight_);
  const double combined = absl::ToDoubleSeconds(clock_.Elapsed() - answered);
  metrics_.combine_seconds.Observe(combined);
  of_layer.combine.Add(combined);
  return absl::OkStatus();
}

void Dispatcher::EndStep() {
  metrics_.Commit();
  exchanger_.EndStep();
}

void Dispatcher::LookAround() {
  exchanger_.End(flight_);  // nobody comes for its answers any more
  exchanger_.LookAround();
}

}  // namespace tessera::router
