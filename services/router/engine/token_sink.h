#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "services/router/sequence/sampled_token.h"
#include "services/router/sequence/sequence.h"

namespace tessera::router {

// Who gets what a step produced. Called by the engine thread, between steps' commits; must not
// block.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // A new token, already part of sequence.produced(). Not called for a row that failed.
  virtual void OnToken(const Sequence& sequence, const SampledToken& token) = 0;
  // The logits [vocab] of one prompt position, for sequences that asked; each position once,
  // ascending.
  virtual void OnPromptLogits(const Sequence& sequence, uint32_t position,
                              std::span<const float> logits) = 0;
  // The sequence ended; finish_reason() and error() say how.
  virtual void OnFinished(std::unique_ptr<Sequence> sequence) = 0;
};

}  // namespace tessera::router
