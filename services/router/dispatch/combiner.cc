#include "services/router/dispatch/combiner.h"

#include <algorithm>
#include <tuple>

#include "common/base/check.h"

namespace tessera::router {
namespace {

// Calls that share a row name different experts, so their order is decided.
auto SumOrder(const FlightCall& call) {
  return std::tuple(call.order, call.plan.segments.front().expert, call.plan.rows.front());
}

}  // namespace

void Combiner::SumParts(const Flight& flight, MatrixView sum) {
  order_.clear();
  size_t pairs = 0;
  for (size_t i = 0; i < flight.call_count; ++i) {
    const FlightCall& call = *flight.calls[i];
    if (call.state != FlightCall::State::kAnswered) continue;
    order_.push_back(&call);
    pairs += call.plan.pair_rows.size();
  }
  // Each pair once: a sum with a part too few or too many looks like any other.
  TESSERA_CHECK(pairs == flight.routed.routing.experts.size());
  std::sort(order_.begin(), order_.end(),
            [](const FlightCall* a, const FlightCall* b) { return SumOrder(*a) < SumOrder(*b); });
  begun_.assign(sum.rows(), false);
  for (const FlightCall* call : order_) {
    for (size_t i = 0; i < call->plan.rows.size(); ++i) {
      const uint32_t row = call->plan.rows[i];
      if (begun_[row]) {
        call->rows.AddRow(i, sum.row(row));
      } else {
        call->rows.ReadRow(i, sum.row(row));
        begun_[row] = true;
      }
    }
  }
}

void Combiner::SumPairs(const Flight& flight, MatrixView sum) {
  const RoutingView& routing = flight.routed.routing;
  places_.assign(routing.rows * routing.top_k, {});
  for (size_t i = 0; i < flight.call_count; ++i) {
    const FlightCall& call = *flight.calls[i];
    if (call.state != FlightCall::State::kAnswered) continue;
    uint32_t pair = 0;
    for (const PlanSegment& segment : call.plan.segments) {
      for (const uint32_t last = pair + segment.pair_count; pair < last; ++pair) {
        const uint32_t row = call.plan.rows[call.plan.pair_rows[pair]];
        const auto experts = routing.experts_of(row);
        const auto it = std::find(experts.begin(), experts.end(), ToIndex(segment.expert));
        TESSERA_CHECK(it != experts.end());
        PairPlace& place = places_[row * routing.top_k + static_cast<size_t>(it - experts.begin())];
        TESSERA_CHECK(place.call == nullptr);
        place = {&call, pair};
      }
    }
  }
  for (size_t row = 0; row < routing.rows; ++row) {
    for (size_t k = 0; k < routing.top_k; ++k) {
      const PairPlace& place = places_[row * routing.top_k + k];
      TESSERA_CHECK(place.call != nullptr);
      if (k == 0) {
        place.call->rows.ReadRow(place.pair, sum.row(row));
      } else {
        place.call->rows.AddRow(place.pair, sum.row(row));
      }
    }
  }
}

}  // namespace tessera::router
