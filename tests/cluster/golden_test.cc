// The engine against the reference implementation, on checkpoints it computed: float32 arithmetic,
// keys and values.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "common/base/clock.h"
#include "common/model/model_config.h"
#include "services/cli/local_engine.h"
#include "tests/support/golden_run.h"
#include "tests/support/reference_forward.h"

namespace tessera {
namespace {

using cli::CapacityOptions;
using cli::LocalEngine;
using testing::CollectingSink;
using testing::Golden;
using testing::GoldenPrompt;

constexpr float kTolerance = 1e-3f;

class GoldenTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    absl::StatusOr<Golden> golden = testing::ReadGolden(GetParam());
    ASSERT_TRUE(golden.ok()) << golden.status();
    golden_ = *std::move(golden);
  }

  void Start(const CapacityOptions& capacity, const std::string& isa = "auto") {
    absl::StatusOr<std::unique_ptr<LocalEngine>> engine =
        LocalEngine::Create(golden_.model_dir, {.threads = 2, .isa = isa, .precision = "float32"},
                            capacity, sink_, clock_, {});
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  // wants_logprobs: of the whole vocabulary at every token it makes.
  void Submit(uint64_t id, const GoldenPrompt& prompt, bool wants_logits,
              bool wants_logprobs = false) {
    router::SequenceRequest request = testing::GoldenRequest(prompt, id);
    request.wants_prompt_logits = wants_logits;
    if (wants_logprobs) request.sampling.logprobs = engine_->spec().vocab;
    ASSERT_TRUE(
        engine_->scheduler().Submit(std::make_unique<router::Sequence>(std::move(request))).ok());
  }

  void Run() {
    for (int steps = 0; !engine_->scheduler().idle(); ++steps) {
      ASSERT_LT(steps, 100000);
      const absl::Status status = engine_->Step();
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  void ExpectGreedy(uint64_t id, const GoldenPrompt& prompt) {
    EXPECT_EQ(sink_.of(id).tokens, prompt.greedy) << "sequence " << id;
    ASSERT_NE(sink_.of(id).finished, nullptr);
    EXPECT_EQ(sink_.of(id).finished->finish_reason(), router::FinishReason::kLength);
  }

  void ExpectLogits(uint64_t id, const GoldenPrompt& prompt) {
    const float worst = testing::WorstError(sink_.of(id).logits, prompt);
    EXPECT_LE(worst, kTolerance) << "sequence " << id;
    RecordProperty("worst_logit_error", std::to_string(worst));
  }

  // What the sequence sampled its tokens from, against the plain forward pass over prompt and
  // tokens at once.
  void ExpectLogprobs(uint64_t id, const GoldenPrompt& prompt) {
    const std::vector<std::vector<double>> expected = ReferenceLogprobs(prompt);
    const auto& steps = sink_.of(id).top_logprobs;
    ASSERT_EQ(steps.size(), prompt.greedy.size());
    for (size_t i = 0; i < steps.size(); ++i) {
      const std::vector<double>& row = expected[prompt.ids.size() - 1 + i];
      ASSERT_EQ(steps[i].size(), row.size());
      for (const router::TokenLogprob& entry : steps[i]) {
        ASSERT_NEAR(entry.logprob, row[static_cast<size_t>(entry.token)], kTolerance)
            << "sequence " << id << " token " << i;
      }
    }
  }

  // [position][vocab], of prompt and greedy tokens.
  std::vector<std::vector<double>> ReferenceLogprobs(const GoldenPrompt& prompt) const {
    std::vector<TokenId> ids = prompt.ids;
    ids.insert(ids.end(), prompt.greedy.begin(), prompt.greedy.end());
    const ModelSpec spec = *ReadModelSpec(golden_.model_dir);
    const std::unique_ptr<const Checkpoint> checkpoint = *Checkpoint::Open(golden_.model_dir);
    std::vector<std::vector<double>> rows =
        testing::ReferenceForward(spec, *ModelManifest::Resolve(spec, *checkpoint), ids);
    for (std::vector<double>& row : rows) {
      const double max = *std::ranges::max_element(row);
      double sum = 0;
      for (const double logit : row) sum += std::exp(logit - max);
      for (double& logit : row) logit -= max + std::log(sum);
    }
    return rows;
  }

  Golden golden_;
  RealClock clock_;
  CollectingSink sink_;
  std::unique_ptr<LocalEngine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Checkpoints, GoldenTest, ::testing::ValuesIn(testing::kGoldenNames),
                         [](const ::testing::TestParamInfo<const char*>& info) {
                           return testing::TestName(info.param);
                         });

TEST_P(GoldenTest, LogitsAndGreedyTokensOfEveryPrompt) {
  Start({.context_max = 256});
  for (size_t i = 0; i < golden_.prompts.size(); ++i) {
    Submit(i, golden_.prompts[i], /*wants_logits=*/true);
    Run();
    ExpectLogits(i, golden_.prompts[i]);
    ExpectGreedy(i, golden_.prompts[i]);
  }
}

TEST_P(GoldenTest, ReferenceKernelsAgreeToo) {
  Start({.context_max = 256}, "reference");
  const GoldenPrompt& prompt = golden_.prompts.back();
  Submit(0, prompt, /*wants_logits=*/true);
  Run();
  ExpectLogits(0, prompt);
  ExpectGreedy(0, prompt);
}

TEST_P(GoldenTest, GateChoosesTheSameExpertsWithTheSameWeights) {
  std::map<size_t, std::vector<std::vector<std::pair<uint32_t, float>>>> chosen;  // layer -> rows
  CapacityOptions capacity{.context_max = 256};
  capacity.routing_observer = [&](LayerIndex layer, const RoutingView& routing) {
    for (size_t row = 0; row < routing.rows; ++row) {
      std::vector<std::pair<uint32_t, float>> pairs;
      for (size_t k = 0; k < routing.top_k; ++k) {
        pairs.emplace_back(routing.experts_of(row)[k], routing.weights_of(row)[k]);
      }
      chosen[ToIndex(layer)].push_back(pairs);
    }
  };
  Start(capacity);
  for (size_t i = 0; i < golden_.prompts.size(); ++i) {
    chosen.clear();
    const GoldenPrompt& prompt = golden_.prompts[i];
    Submit(i, prompt, /*wants_logits=*/true);
    ASSERT_TRUE(engine_->Step().ok());  // the prompt's step; later rows have no expected routing
    ASSERT_FALSE(prompt.routing.empty());
    for (const GoldenPrompt::LayerRouting& expected : prompt.routing) {
      ASSERT_EQ(chosen[expected.layer].size(), prompt.ids.size()) << "layer " << expected.layer;
      for (size_t row = 0; row < prompt.ids.size(); ++row) {
        std::map<uint32_t, float> weights;
        for (size_t k = 0; k < expected.selected[row].size(); ++k) {
          weights[static_cast<uint32_t>(expected.selected[row][k])] = expected.weights[row][k];
        }
        ASSERT_EQ(chosen[expected.layer][row].size(), weights.size());
        for (const auto& [expert, weight] : chosen[expected.layer][row]) {
          ASSERT_TRUE(weights.contains(expert)) << "layer " << expected.layer << " row " << row;
          EXPECT_NEAR(weight, weights[expert], 1e-4f);
        }
      }
    }
    Run();
  }
}

TEST_P(GoldenTest, ChunkedPrefillChangesNoBit) {
  Start({.context_max = 256});
  const GoldenPrompt& prompt = golden_.prompts.back();
  Submit(0, prompt, /*wants_logits=*/true);
  Run();
  const std::vector<std::vector<float>> whole = sink_.of(0).logits;
  uint64_t id = 1;
  for (const size_t chunk : {1u, 3u, 7u}) {
    Start({.context_max = 256, .prefill_chunk_max = chunk});
    Submit(id, prompt, /*wants_logits=*/true);
    const auto chunks = (prompt.ids.size() + chunk - 1) / chunk;
    Run();
    EXPECT_GE(engine_->scheduler().stats().steps_committed, chunks);  // it happened
    EXPECT_EQ(sink_.of(id).logits, whole) << "chunk " << chunk;
    ExpectLogits(id, prompt);
    ExpectGreedy(id, prompt);
    ++id;
  }
}

TEST_P(GoldenTest, MixedBatchesOfDecodeAndPrefill) {
  Start({.context_max = 256, .sequence_count = 8, .prefill_chunk_max = 5});
  // A new prompt comes every two steps, while the earlier ones decode. Mixed are steps that gave a
  // further token to one sequence and several prompt positions to another.
  size_t mixed_steps = 0;
  for (size_t i = 0; i < golden_.prompts.size(); ++i) {
    Submit(i, golden_.prompts[i], /*wants_logits=*/true);
    for (int step = 0; step < 2; ++step) {
      std::vector<size_t> tokens, positions;
      for (size_t id = 0; id <= i; ++id) {
        tokens.push_back(sink_.of(id).tokens.size());
        positions.push_back(sink_.of(id).logits.size());
      }
      ASSERT_TRUE(engine_->Step().ok());
      bool decoded = false, prefilled = false;
      for (size_t id = 0; id <= i; ++id) {
        decoded = decoded || (tokens[id] > 0 && sink_.of(id).tokens.size() > tokens[id]);
        prefilled = prefilled || sink_.of(id).logits.size() > positions[id] + 1;
      }
      mixed_steps += decoded && prefilled ? 1 : 0;
    }
  }
  Run();
  EXPECT_GT(mixed_steps, 0u);
  for (size_t i = 0; i < golden_.prompts.size(); ++i) {
    ExpectLogits(i, golden_.prompts[i]);
    ExpectGreedy(i, golden_.prompts[i]);
  }
}

TEST_P(GoldenTest, LogitsSurvivePreemption) {
  // Two prompts fit, but not what both will have grown to: the younger sequence must give way.
  const GoldenPrompt& prompt = golden_.prompts.back();
  const size_t tokens = prompt.ids.size() + prompt.greedy.size();
  const size_t full_blocks = 2 * router::BlocksFor(prompt.ids.size() + 1);
  Start({.context_max = tokens,
         .sequence_count = 4,
         .prefill_chunk_max = 16,
         .kv_blocks = router::BlockCounts{.full = full_blocks, .sliding = 64}});
  for (uint64_t id = 0; id < 4; ++id) {
    Submit(id, prompt, /*wants_logits=*/true, /*wants_logprobs=*/true);
  }
  Run();
  EXPECT_GT(engine_->scheduler().stats().preemptions, 0u);
  EXPECT_GT(engine_->scheduler().stats().recomputed_tokens, 0u);
  for (uint64_t id = 0; id < 4; ++id) {
    ExpectLogits(id, prompt);
    ExpectLogprobs(id, prompt);
    ExpectGreedy(id, prompt);
  }
  EXPECT_EQ(engine_->kv().stats().used_bytes, 0u);
}

TEST_P(GoldenTest, PrefixCacheHitGivesTheSameLogits) {
  Start({.context_max = 256, .sequence_count = 4, .prefix_cache = true});
  const GoldenPrompt& prompt = golden_.prompts.back();
  // Without the logits of prompt positions, for which each would have to be computed.
  Submit(0, prompt, /*wants_logits=*/false, /*wants_logprobs=*/true);
  Run();
  EXPECT_EQ(engine_->kv().stats().prefix_hit_tokens, 0u);
  Submit(1, prompt, /*wants_logits=*/false, /*wants_logprobs=*/true);
  Run();
  EXPECT_GE(engine_->kv().stats().prefix_hit_tokens, 16u);
  for (const uint64_t id : {0, 1}) {
    ExpectLogprobs(id, prompt);
    ExpectGreedy(id, prompt);
  }
}

}  // namespace
}  // namespace tessera
