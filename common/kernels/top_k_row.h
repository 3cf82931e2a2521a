#pragma once

// The gate for one row, per level. Internal to this room.

#include <cstddef>
#include <cstdint>

#include "common/kernels/top_k.h"

namespace tessera::kernels {

struct GateRow {
  const float* logits;  // [experts]
  const float* bias;    // [experts], or null
  size_t experts;
  float* scores;   // scratch, [experts rounded up to 8]
  float* choices;  // scratch, the same
};

// The first half of SelectExperts: the ids of the chosen in ascending order in `chosen` [top_k],
// their scores in row.scores. A biased score that is NaN or minus infinity counts as the lowest
// finite number, so the ids are distinct and in range whatever the logits.
void ChooseExpertsReference(const GateRow& row, size_t top_k, uint32_t* chosen);
void ChooseExpertsAvx2(const GateRow& row, size_t top_k, uint32_t* chosen);

}  // namespace tessera::kernels
