#pragma once

// The prompts of a golden checkpoint through an engine, and how far that is from the reference.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "services/router/sequence/sequence.h"
#include "tests/support/collecting_sink.h"
#include "tests/support/golden.h"

namespace tessera::testing {

// Greedy, as many tokens as the reference made, with the logits of every position.
router::SequenceRequest GoldenRequest(const GoldenPrompt& prompt, uint64_t id);

struct GoldenRun {
  std::vector<std::vector<std::vector<float>>> logits;  // [prompts][positions][vocab]
  std::vector<std::vector<TokenId>> tokens;             // [prompts]
};

// All prompts together, by whatever has scheduler() and Step() and tells `sink`. The prefix cache
// stays out: every position is computed. Empty, and the test fails, on an error.
template <typename Engine>
GoldenRun RunGolden(const Golden& golden, Engine& engine, CollectingSink& sink) {
  for (size_t i = 0; i < golden.prompts.size(); ++i) {
    router::SequenceRequest request = GoldenRequest(golden.prompts[i], i);
    request.uses_prefix_cache = false;
    const absl::Status taken =
        engine.scheduler().Submit(std::make_unique<router::Sequence>(std::move(request)));
    EXPECT_TRUE(taken.ok()) << taken;
  }
  while (!engine.scheduler().idle()) {
    const absl::Status status = engine.Step();
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) return {};
  }
  GoldenRun run;
  for (size_t i = 0; i < golden.prompts.size(); ++i) {
    run.logits.push_back(sink.of(i).logits);
    run.tokens.push_back(sink.of(i).tokens);
  }
  return run;
}

// The largest distance of any logit from the reference's; infinite if there are not as many.
float WorstError(const std::vector<std::vector<float>>& logits, const GoldenPrompt& prompt);
float WorstError(const GoldenRun& run, const Golden& golden);

// A name GoogleTest takes: "afmoe-tiny-f32" becomes "afmoe_tiny_f32".
std::string TestName(std::string name);

}  // namespace tessera::testing
