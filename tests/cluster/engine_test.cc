// The engine on random checkpoints of many shapes, against the plain forward pass.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/model/model_config.h"
#include "services/cli/local_engine.h"
#include "tests/support/collecting_sink.h"
#include "tests/support/reference_forward.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

using cli::CapacityOptions;
using cli::ComputeOptions;
using cli::LocalEngine;
using testing::CollectingSink;
using testing::TinyModelOptions;

constexpr double kTolerance = 1e-3;

std::vector<TokenId> RandomIds(size_t count, size_t vocab, uint64_t seed) {
  Random random(seed);
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(random.Below(vocab));
  return ids;
}

router::SequenceRequest Request(uint64_t id, std::vector<TokenId> prompt, uint32_t max_tokens) {
  router::SequenceRequest request;
  request.id = SequenceId{id};
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = true;
  request.wants_prompt_logits = true;
  return request;
}

// A checkpoint on disk with the engine that runs it and the oracle.
class ModelUnderTest {
 public:
  ModelUnderTest(const ModelSpec& spec, const TinyModelOptions& options) {
    WriteTinyModel(spec, options, folder_.path());
  }

  void Start(const ComputeOptions& compute, const CapacityOptions& capacity) {
    absl::StatusOr<std::unique_ptr<LocalEngine>> engine =
        LocalEngine::Create(folder_.path(), compute, capacity, sink_, clock_, {});
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  void Run(router::SequenceRequest request) {
    const absl::Status status =
        engine_->scheduler().Submit(std::make_unique<router::Sequence>(std::move(request)));
    ASSERT_TRUE(status.ok()) << status;
    while (!engine_->scheduler().idle()) ASSERT_TRUE(engine_->Step().ok());
  }
  std::vector<std::vector<double>> Reference(std::span<const TokenId> ids) const {
    const ModelSpec spec = *ReadModelSpec(folder_.path());
    const std::unique_ptr<const Checkpoint> checkpoint = *Checkpoint::Open(folder_.path());
    return testing::ReferenceForward(spec, *ModelManifest::Resolve(spec, *checkpoint), ids);
  }
  LocalEngine& engine() { return *engine_; }
  CollectingSink& sink() { return sink_; }
  const std::string& path() const { return folder_.path(); }

 private:
  testing::TempFolder folder_;
  RealClock clock_;
  CollectingSink sink_;
  std::unique_ptr<LocalEngine> engine_;
};

double WorstError(const std::vector<std::vector<float>>& logits,
                  const std::vector<std::vector<double>>& expected) {
  double worst = logits.size() == expected.size() ? 0 : INFINITY;
  for (size_t t = 0; t < logits.size() && t < expected.size(); ++t) {
    for (size_t v = 0; v < expected[t].size(); ++v) {
      worst = std::max(worst, std::fabs(static_cast<double>(logits[t][v]) - expected[t][v]));
    }
  }
  return worst;
}

struct Shape {
  std::string name;
  std::function<void(ModelSpec&)> change;
  TinyModelOptions options;
};

std::vector<Shape> Shapes() {
  const auto same = [](ModelSpec&) {};
  return {
      {"plain", same, {}},
      {"float32", same, {.dtype = DType::kF32}},
      {"float16", same, {.dtype = DType::kF16}},
      {"fp8_blocks",
       [](ModelSpec& s) { s.quantization = BlockQuantization{.block_rows = 16, .block_cols = 16}; },
       {.dtype = DType::kF8E4M3}},
      {"fused", same, {.fused_experts = true}},
      {"sharded", same, {.shard_count = 3}},
      {"multi_head", [](ModelSpec& s) { s.kv_heads = s.query_heads; }, {}},
      {"one_kv_head", [](ModelSpec& s) { s.kv_heads = 1; }, {}},
      {"head_dim_24", [](ModelSpec& s) { s.head_dim = 24; }, {}},
      {"head_dim_32", [](ModelSpec& s) { s.head_dim = 32; }, {}},
      {"head_dim_128", [](ModelSpec& s) { s.head_dim = 128; }, {}},
      {"head_dim_6", [](ModelSpec& s) { s.head_dim = 6; }, {}},
      {"two_shared", [](ModelSpec& s) { s.shared_expert_count = 2; }, {}},
      {"no_shared", [](ModelSpec& s) { s.shared_expert_count = 0; }, {}},
      {"no_dense", [](ModelSpec& s) { s.dense_layer_count = 0; }, {}},
      {"three_dense", [](ModelSpec& s) { s.dense_layer_count = 3; }, {}},
      {"odd_widths",
       [](ModelSpec& s) {
         s.expert_width = 19;
         s.dense_width = 37;
         s.vocab = 101;
         s.d_model = 50;
       },
       {}},
      {"tied", [](ModelSpec& s) { s.tied_embeddings = true; }, {}},
      {"not_normalised", [](ModelSpec& s) { s.route_normalize = false; }, {}},
      {"unscaled", [](ModelSpec& s) { s.embedding_scaled = false; }, {}},
      {"all_experts", [](ModelSpec& s) { s.top_k = s.expert_count; }, {}},
      {"one_expert", [](ModelSpec& s) { s.top_k = 1; }, {}},
      {"all_full", [](ModelSpec& s) { std::ranges::fill(s.layer_kinds, LayerKind::kFull); }, {}},
      {"all_sliding",
       [](ModelSpec& s) { std::ranges::fill(s.layer_kinds, LayerKind::kSliding); },
       {}},
      {"window_1", [](ModelSpec& s) { s.sliding_window = 1; }, {}},
      {"window_17", [](ModelSpec& s) { s.sliding_window = 17; }, {}},
  };
}

class ShapeTest : public ::testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, ShapeTest, ::testing::ValuesIn(Shapes()),
                         [](const ::testing::TestParamInfo<Shape>& info) {
                           return info.param.name;
                         });

TEST_P(ShapeTest, LogitsEqualThePlainForwardPass) {
  ModelSpec spec = testing::TinySpec();
  GetParam().change(spec);
  ModelUnderTest model(spec, GetParam().options);
  const std::vector<TokenId> ids = RandomIds(37, spec.vocab, 11);
  const std::vector<std::vector<double>> expected = model.Reference(ids);
  for (const std::string weights : {"packed", "mapped"}) {
    const bool storable =
        GetParam().options.dtype == DType::kBF16 || GetParam().options.dtype == DType::kF32;
    if (weights == "mapped" && !storable) continue;
    model.Start({.threads = 2, .precision = "float32", .weights = weights},
                {.context_max = 64, .prefill_chunk_max = 10});
    const uint64_t id = weights == "mapped" ? 2 : 1;
    model.Run(Request(id, ids, 0));
    EXPECT_LE(WorstError(model.sink().of(id).logits, expected), kTolerance) << weights;
  }
}

TEST(EngineTest, SequencesFarBeyondTheWindowAreRightAndSlidingMemoryStopsGrowing) {
  const ModelSpec spec = testing::TinySpec();
  ModelUnderTest model(spec, {});
  const std::vector<TokenId> ids = RandomIds(12 * spec.sliding_window, spec.vocab, 3);
  model.Start({.threads = 1, .precision = "float32"},
              {.context_max = 256, .prefill_chunk_max = 16});
  const absl::Status submitted =
      model.engine().scheduler().Submit(std::make_unique<router::Sequence>(Request(1, ids, 100)));
  ASSERT_TRUE(submitted.ok());
  size_t sliding_most_early = 0, sliding_most_late = 0, full_early = 0, full_late = 0;
  for (size_t step = 0; !model.engine().scheduler().idle(); ++step) {
    const router::KvStats before = model.engine().kv().stats();
    ASSERT_TRUE(model.engine().Step().ok());
    (step < 40 ? sliding_most_early : sliding_most_late) =
        std::max(step < 40 ? sliding_most_early : sliding_most_late, before.sliding.used_count);
    (step < 40 ? full_early : full_late) =
        std::max(step < 40 ? full_early : full_late, before.full.used_count);
  }
  EXPECT_GT(full_late, full_early);                  // full layers keep everything
  EXPECT_LE(sliding_most_late, sliding_most_early);  // sliding ones the window
  EXPECT_LE(WorstError(model.sink().of(1).logits, model.Reference(ids)), kTolerance);
  // What was generated is what the oracle finds most probable after the same tokens.
  std::vector<TokenId> all = ids;
  const std::vector<TokenId>& tokens = model.sink().of(1).tokens;
  all.insert(all.end(), tokens.begin(), tokens.end());
  const std::vector<std::vector<double>> expected = model.Reference(all);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::vector<double>& row = expected[ids.size() + i - 1];
    const double best = *std::ranges::max_element(row);
    EXPECT_GE(row[static_cast<size_t>(tokens[i])], best - kTolerance) << "token " << i;
  }
}

// What rounding a factor of a matrix product costs, as a share of its own size (both RMS).
//   bf16     8 bits of mantissa: 2^-9 at most, so 2^-9 / sqrt(3)
//   q8, q4   a block of 32 normal numbers reaches 2.2 standard deviations in the mean; steps of a
//            127th or an eighth of that, which err by step / sqrt(12)
struct Rounding {
  std::string dtype;
  double weight;
  double activation;
};
const double kBf16Rounding = std::exp2(-9) / std::sqrt(3.0);
const double kQ8Rounding = 2.2 / 127 / std::sqrt(12.0);
const double kQ4Rounding = 2.2 / 8 / std::sqrt(12.0);

struct Distance {
  double logit_variance = 0;  // of float32, the mean over the positions
  double divergence = 0;      // KL(float32 || fast), the mean over the positions
};

Distance DistanceOf(const std::vector<std::vector<double>>& expected,
                    const std::vector<std::vector<float>>& logits) {
  Distance distance;
  for (size_t t = 0; t < expected.size(); ++t) {
    double sum = 0, other_sum = 0, mean = 0, square = 0;
    for (size_t v = 0; v < expected[t].size(); ++v) {
      sum += std::exp(expected[t][v]);
      other_sum += std::exp(static_cast<double>(logits[t][v]));
      mean += expected[t][v];
      square += expected[t][v] * expected[t][v];
    }
    const auto vocab = static_cast<double>(expected[t].size());
    mean /= vocab;
    distance.logit_variance += square / vocab - mean * mean;
    for (size_t v = 0; v < expected[t].size(); ++v) {
      const double log_ratio = expected[t][v] - static_cast<double>(logits[t][v]);
      distance.divergence +=
          std::exp(expected[t][v]) / sum * (log_ratio + std::log(other_sum) - std::log(sum));
    }
  }
  distance.logit_variance /= static_cast<double>(expected.size());
  distance.divergence /= static_cast<double>(expected.size());
  return distance;
}

// Products follow each other: two in attention (in, out), two in a feed-forward, and the head. If
// each adds its rounding errors independently and none is diluted by the residual, logits err by
// sigma^2 = variance * products * (weight^2 + activation^2), and to second order
// KL = (error variance under p) / 2 <= sigma^2 / 2. A token that leads by 8 sigma, 5.6 standard
// deviations of the difference of two errors, stays the most probable one.
TEST(EngineTest, FastArithmeticStaysNearFloat32) {
  const ModelSpec spec = testing::TinySpec();
  ModelUnderTest model(spec, {.round_to_bf16 = true});
  const std::vector<TokenId> ids = RandomIds(48, spec.vocab, 5);
  const std::vector<std::vector<double>> expected = model.Reference(ids);
  const double products = 4.0 * static_cast<double>(spec.layer_count) + 1;
  uint64_t id = 1;
  for (const Rounding& rounding :
       {Rounding{"bf16", 0, kBf16Rounding},  // as stored
        Rounding{"q8", kQ8Rounding, kQ8Rounding}, Rounding{"q4", kQ4Rounding, kQ8Rounding}}) {
    SCOPED_TRACE(rounding.dtype);
    model.Start({.threads = 2,
                 .precision = "fast",
                 .expert_dtype = rounding.dtype,
                 .dense_dtype = rounding.dtype},
                {.context_max = 64});
    model.Run(Request(id, ids, 0));
    const std::vector<std::vector<float>>& logits = model.sink().of(id).logits;
    ASSERT_EQ(logits.size(), ids.size());
    const Distance distance = DistanceOf(expected, logits);
    const double variance =
        distance.logit_variance * products *
        (rounding.weight * rounding.weight + rounding.activation * rounding.activation);
    EXPECT_GT(distance.divergence, 0);  // it is not float32 that ran
    EXPECT_LE(distance.divergence, variance / 2);
    size_t clear_count = 0;
    for (size_t t = 0; t < ids.size(); ++t) {
      std::vector<double> row = expected[t];
      const auto best = std::ranges::max_element(row) - row.begin();
      std::ranges::nth_element(row, row.begin() + 1, std::greater<>());
      if (row[0] - row[1] < 8 * std::sqrt(variance)) continue;
      ++clear_count;
      EXPECT_EQ(std::ranges::max_element(logits[t]) - logits[t].begin(), best) << "position " << t;
    }
    // Four-bit weights move logits so far that no lead of a random model is clear.
    EXPECT_EQ(clear_count > 0, rounding.dtype != "q4") << clear_count;
    ++id;
  }
}

TEST(EngineTest, ANonFiniteLogitFailsItsRequestOnly) {
  ModelSpec spec = testing::TinySpec();
  ModelUnderTest model(spec, {.dtype = DType::kF32});
  // Token 7's embedding is so large that the norms overflow; other tokens are untouched.
  std::vector<testing::FileTensor> tensors = testing::TinyTensors(spec, {.dtype = DType::kF32});
  for (testing::FileTensor& tensor : tensors) {
    if (tensor.name != "model.embed_tokens.weight") continue;
    const std::string row = testing::Encode(std::vector<float>(spec.d_model, 3e38f), DType::kF32);
    tensor.bytes.replace(7 * row.size(), row.size(), row);
  }
  testing::WriteCheckpoint(model.path(), tensors);
  model.Start({.threads = 1, .precision = "float32"},
              {.context_max = 64, .sequence_count = 2, .prefix_cache = true});
  router::SequenceRequest bad = Request(1, {1, 7, 2, 7}, 4);
  router::SequenceRequest good = Request(2, {1, 2, 3}, 4);
  bad.wants_prompt_logits = good.wants_prompt_logits = false;
  ASSERT_TRUE(
      model.engine().scheduler().Submit(std::make_unique<router::Sequence>(std::move(bad))).ok());
  model.Run(std::move(good));
  EXPECT_EQ(model.sink().of(1).finished->finish_reason(), router::FinishReason::kError);
  EXPECT_EQ(model.sink().of(1).finished->error().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(model.sink().of(1).tokens.empty());
  EXPECT_EQ(model.sink().of(2).tokens.size(), 4u);
  EXPECT_EQ(model.engine().metrics().non_finite_logits.value(), 1);
  // The same where only logits are wanted.
  model.Run(Request(3, {1, 7, 2}, 0));
  EXPECT_EQ(model.sink().of(3).finished->error().code(), absl::StatusCode::kInternal);
  // Its keys and values are remembered for nobody.
  std::vector<TokenId> prompt(40, 1);
  prompt[3] = 7;
  router::SequenceRequest long_one = Request(5, prompt, 4);
  long_one.uses_prefix_cache = true;
  model.Run(std::move(long_one));
  EXPECT_EQ(model.sink().of(5).finished->error().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(model.engine().kv().prefix_cache().node_count(), 0u);
  // The blocks that held its keys and values serve others unharmed.
  model.Run(Request(4, {1, 2, 3}, 4));
  EXPECT_EQ(model.sink().of(4).tokens, model.sink().of(2).tokens);
}

TEST(EngineTest, AModelThatDoesNotFitIsRefusedWithTheArithmetic) {
  ModelSpec spec = testing::TinySpec();
  spec.context_max = size_t{1} << 30;
  ModelUnderTest model(spec, {});
  CollectingSink sink;
  const RealClock clock;
  const absl::StatusOr<std::unique_ptr<LocalEngine>> engine = LocalEngine::Create(
      model.path(), {}, {.context_max = size_t{1} << 22, .sequence_count = 64}, sink, clock, {});
  EXPECT_EQ(engine.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(engine.status().message()),
              ::testing::HasSubstr("GB of keys and values"));
}

TEST(EngineTest, TheLogitsOfAStepCountIntoTheMemoryThatIsAsked) {
  const ModelSpec spec = testing::TinySpec();
  const size_t rows = (size_t{1} << 40) / spec.vocab;  // 4 TiB of logits
  EXPECT_EQ(router::WorkspaceBytes(spec, rows) - router::WorkspaceBytes(spec, 0),
            rows * spec.vocab * sizeof(float));
  const absl::Status planned =
      router::PlanKv(spec, kernels::KvType::kBF16, {.logits_rows_max = rows}, /*weight_bytes=*/0)
          .status();
  EXPECT_EQ(planned.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(planned.message()), ::testing::HasSubstr("workspace take 439"));
  ModelUnderTest model(spec, {});
  CollectingSink sink;
  const RealClock clock;
  const absl::Status refused =
      LocalEngine::Create(model.path(), {}, {.context_max = 64, .logits_rows_max = rows}, sink,
                          clock, {})
          .status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("GB of workspace = 439"));
}

TEST(EngineTest, UnknownOptionsAreRefusedByName) {
  const ModelSpec spec = testing::TinySpec();
  ModelUnderTest model(spec, {});
  CollectingSink sink;
  const RealClock clock;
  const std::pair<ComputeOptions, std::string> cases[] = {
      {{.threads = 4097}, "threads is 4097, expected 0..4096"},
      {{.threads = SIZE_MAX}, "expected 0..4096"},
      {{.isa = "sse"}, "sse"},
      {{.precision = "double"}, "double"},
      {{.expert_dtype = "int3"}, "int3"},
      {{.dense_dtype = "fp4"}, "fp4"},
      {{.weights = "stolen"}, "stolen"},
      {{.dense_dtype = "q8", .weights = "mapped"}, "mapped"},
  };
  for (const auto& [compute, word] : cases) {
    const absl::StatusOr<std::unique_ptr<LocalEngine>> engine =
        LocalEngine::Create(model.path(), compute, {.context_max = 64}, sink, clock, {});
    EXPECT_EQ(engine.status().code(), absl::StatusCode::kInvalidArgument) << word;
    EXPECT_THAT(std::string(engine.status().message()), ::testing::HasSubstr(word));
  }
}

}  // namespace
}  // namespace tessera
