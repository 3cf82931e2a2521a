#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "common/tensor/matrix_view.h"
#include "services/router/dispatch/flight.h"

namespace tessera::router {

// Adds the answers of a settled flight up. Keeps its tables between uses; owned by the engine
// thread.
class Combiner {
 public:
  // sum.row(r) = the row's parts in ascending shard id (of the first plan), in float32, whatever
  // order they arrived in. Pieces of a part that was taken apart on the way are added to one
  // another first, in ascending expert id, as its shard would have done: the same bits wherever a
  // piece holds one expert of the row. sum [rows, d_model] is overwritten.
  void SumParts(const Flight& flight, MatrixView sum);
  // The same from one answered row per pair, in ascending expert id: the bits do not depend on
  // where an expert was computed.
  void SumPairs(const Flight& flight, MatrixView sum);

 private:
  // One answered row.
  struct Part {
    uint32_t row = 0;  // of the step
    ShardId order{};
    ExpertId first{};  // its expert with the lowest id
    uint32_t index = 0;
    const FlightCall* call = nullptr;
  };
  void SumWholes(MatrixView sum);
  void SumPieces(MatrixView sum);

  struct PairPlace {
    const FlightCall* call = nullptr;
    uint32_t pair = 0;
  };
  std::vector<const FlightCall*> order_;
  std::vector<bool> begun_;  // [rows]
  std::vector<Part> parts_;
  std::vector<float> piece_sum_;   // [d_model]
  std::vector<PairPlace> places_;  // [rows, top_k]
};

}  // namespace tessera::router
