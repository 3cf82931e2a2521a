#pragma once

// How much arithmetic a step is.

#include <cstddef>

#include "services/trainer/backward/parameters.h"
#include "services/trainer/optimizer/muon.h"

namespace tessera::trainer {

// Additions and multiplications of a step, counted as useful work: products with weights forward
// and twice backward, of experts (and of the router's rows on the way back) only those chosen, of
// the head only tokens with loss; attention's products of queries, keys and values are not counted
// (they depend on the documents), nor is what goes over rows number by number.
struct StepOperations {
  double products = 0;
  double muon = 0;

  double sum() const { return products + muon; }
};
StepOperations OperationsOf(const ParameterLayout& layout, const MuonOptions& muon, size_t tokens,
                            size_t loss_tokens);

}  // namespace tessera::trainer
