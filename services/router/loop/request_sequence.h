#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/wire/generation_wire.h"
#include "services/router/sequence/sequence.h"

namespace tessera::router {

// Scores that a prompt's log probabilities may be made of: (logprobs + 1) a prompt token.
inline constexpr size_t kPromptScoresMax = size_t{1} << 21;

// What the wire asks, as the scheduler takes it. `now` is Clock::Elapsed(); `seed` is taken if the
// request brings none. kInvalidArgument naming the field, its value and what it may be; lengths
// against the context are the scheduler's to check.
absl::StatusOr<SequenceRequest> ToSequenceRequest(wire::GenerationParams params, SequenceId id,
                                                  size_t vocab, absl::Duration now, uint64_t seed);

}  // namespace tessera::router
