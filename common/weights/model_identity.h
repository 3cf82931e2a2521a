#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/model/model_spec.h"
#include "common/weights/checkpoint.h"

namespace tessera {

// A number by which two processes tell that they hold the same model: over every value of `spec`,
// the name, dtype and shape of every tensor, and 64 bytes out of the middle of up to 1024 tensors,
// evenly over the names. Independent of how the tensors are spread over files. Cheap (about 1024
// page reads) and not cryptographic: it finds mix-ups, not forgeries, and a difference in a few
// weights may escape it. Errors: those of Checkpoint::Verify.
absl::StatusOr<uint64_t> ModelIdentity(const ModelSpec& spec, const Checkpoint& checkpoint);

}  // namespace tessera
