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
  const bool split =
      std::any_of(order_.begin(), order_.end(), [](const FlightCall* call) { return call->split; });
  if (split) {
    SumPieces(sum);
  } else {
    SumWholes(sum);
  }
}

void Combiner::SumWholes(MatrixView sum) {
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

void Combiner::SumPieces(MatrixView sum) {
  parts_.clear();
  for (const FlightCall* call : order_) {
    const size_t begin = parts_.size();
    for (uint32_t i = 0; i < call->plan.rows.size(); ++i) {
      parts_.push_back({call->plan.rows[i], *call->order, {}, i, call});
    }
    size_t pair = call->plan.pair_rows.size();  // backwards: the lowest expert is noted last
    for (auto s = call->plan.segments.rbegin(); s != call->plan.segments.rend(); ++s) {
      for (const size_t first = pair - s->pair_count; pair > first; --pair) {
        parts_[begin + call->plan.pair_rows[pair - 1]].first = s->expert;
      }
    }
  }
  std::sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) {
    return std::tuple(a.row, a.order, a.first) < std::tuple(b.row, b.order, b.first);
  });
  piece_sum_.resize(sum.cols());
  for (size_t i = 0; i < parts_.size();) {
    const Part& part = parts_[i];
    const std::span<float> out = sum.row(part.row);
    const bool begins = i == 0 || parts_[i - 1].row != part.row;
    const std::span<float> to = begins ? out : std::span<float>(piece_sum_);
    part.call->rows.ReadRow(part.index, to);
    for (++i; i < parts_.size() && parts_[i].row == part.row && parts_[i].order == part.order;
         ++i) {
      parts_[i].call->rows.AddRow(parts_[i].index, to);
    }
    for (size_t c = 0; c < out.size() && !begins; ++c) out[c] += piece_sum_[c];
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
