#pragma once

#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "services/router/engine/token_sink.h"

namespace tessera::testing {

// Keeps everything an engine hands out, by sequence.
class CollectingSink final : public router::TokenSink {
 public:
  struct Result {
    std::vector<TokenId> tokens;
    std::vector<float> logprobs;                                  // of the tokens, where asked for
    std::vector<std::vector<router::TokenLogprob>> top_logprobs;  // the same, [tokens]
    std::vector<std::vector<float>>
        logits;  // of prompt positions, where asked for; [position][vocab]
    std::vector<uint32_t> logits_positions;  // as they came
    std::unique_ptr<router::Sequence> finished;
  };

  void OnToken(const router::Sequence& sequence, const router::SampledToken& token) override {
    results_[sequence.id()].tokens.push_back(token.token);
    results_[sequence.id()].logprobs.push_back(token.logprob);
    results_[sequence.id()].top_logprobs.push_back(token.top_logprobs);
  }
  void OnPromptLogits(const router::Sequence& sequence, uint32_t position,
                      std::span<const float> logits) override {
    results_[sequence.id()].logits.emplace_back(logits.begin(), logits.end());
    results_[sequence.id()].logits_positions.push_back(position);
  }
  void OnFinished(std::unique_ptr<router::Sequence> sequence) override {
    const SequenceId id = sequence->id();
    results_[id].finished = std::move(sequence);
  }
  const Result& of(uint64_t id) { return results_[SequenceId{id}]; }

 private:
  std::map<SequenceId, Result> results_;
};

}  // namespace tessera::testing
