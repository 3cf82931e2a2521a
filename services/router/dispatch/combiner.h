#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor/matrix_view.h"
#include "services/router/dispatch/flight.h"

namespace tessera::router {

// Adds the answers of a settled flight up. Keeps its tables between uses; owned by the engine
// thread.
class Combiner {
 public:
  // sum.row(r) = the row's parts in ascending shard id (of the first plan), in float32, whatever
  // order they arrived in. sum [rows, d_model] is overwritten.
  void SumParts(const Flight& flight, MatrixView sum);
  // The same from one answered row per pair, in ascending expert id: the bits do not depend on
  // where an expert was computed.
  void SumPairs(const Flight& flight, MatrixView sum);

 private:
  struct PairPlace {
    const FlightCall* call = nullptr;
    uint32_t pair = 0;
  };
  std::vector<const FlightCall*> order_;
  std::vector<bool> begun_;        // [rows]
  std::vector<PairPlace> places_;  // [rows, top_k]
};

}  // namespace tessera::router
