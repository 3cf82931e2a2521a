#pragma once

// What both ends of an exchange must have in common: tessera.v1.ModelIdentity as a plain struct,
// and the two of its texts that HELLO carries as numbers.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/wire/hello_wire.h"

namespace tessera::v1 {
class ModelIdentity;
}  // namespace tessera::v1

namespace tessera::wire {

struct ModelIdentity {
  std::string model_hash;  // hex, 2..64 digits; equal for equal checkpoints
  uint32_t d_model = 0;
  uint32_t layer_count = 0;   // decoder layers, dense ones included
  uint32_t expert_count = 0;  // of a MoE layer
  uint32_t expert_width = 0;
  uint32_t top_k = 0;
  std::string expert_dtype;  // "bf16", "q8", "q4", "f32"; of a router: empty, it takes any
  std::string kernel_level;  // "avx2", "amx"...

  friend bool operator==(const ModelIdentity&, const ModelIdentity&) = default;
};

// kInvalidArgument naming a number that is zero or too large for a frame, or a hash that is none.
absl::StatusOr<ModelIdentity> ToModelIdentity(const v1::ModelIdentity& message);
void ToProto(const ModelIdentity& model, v1::ModelIdentity& message);

// kFailedPrecondition naming the first thing in which `theirs` differs from `ours`, with both
// values. Kernel levels count in strict mode only.
absl::Status CompareModels(const ModelIdentity& ours, const ModelIdentity& theirs, bool strict);

// The text for ModelIdentity::model_hash: 16 hex digits.
std::string HashText(uint64_t model_identity);
// Hello::model_hash: the digits' bytes, then zeros. kInvalidArgument: not 2..64 hex digits, even.
absl::StatusOr<ModelHash> ToModelHash(std::string_view hex);
// Hello::kernel_level: equal for equal names.
uint32_t KernelLevelNumber(std::string_view name);

}  // namespace tessera::wire
