#pragma once

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/kernels/compute.h"
#include "common/model/model_spec.h"
#include "services/expert_shard/experts/expert_store.h"

namespace tessera::expert_shard {

// A call with known rows goes the way of every call, from frame to answer, for the first and the
// last unit that is held, and is held against the plain product with the checkpoint's own numbers:
// finds a mixed-up slot, a packing or a kernel that is wrong on this CPU, memory that does not
// keep what was written. Holding nothing is fine.
//   kInternal  an answer is further off than number format and arithmetic explain
absl::Status SelfCheck(const ModelSpec& spec, const ExpertStore& store,
                       const kernels::Compute& compute, const Clock& clock);

}  // namespace tessera::expert_shard
