#include "services/expert_shard/batching/row_batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "services/expert_shard/experts/expert_ffn.h"
#include "tests/services/expert_shard/batching/call_samples.h"
#include "tests/support/fake_clock.h"
#include "tests/support/trace_collector.h"

namespace tessera::expert_shard {
namespace {

using wire::NackReason;
using wire::RowDType;

constexpr LayerIndex kLayer{2};

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// A shard with a whole tiny model.
class RowBatcherTest : public ::testing::Test {
 protected:
  void Start(const Machine& machine, const RowBatcherConfig& config = {}) {
    store_ = model_.LoadAll({.arithmetic = kernels::Arithmetic::kFloat32, .slots_spare = 2});
    ffn_ = std::make_unique<ExpertFfn>(*store_, machine.compute);
    batcher_ = std::make_unique<RowBatcher>(config,
                                            BatcherRooms{model_.spec(), *store_, machine.compute,
                                                         answers_, clock_, metrics_, tracer_.get()},
                                            [this] { return sound_; });
  }
  IncomingCall Call(const RandomRouting& routing, const wire::FrameGeometry& geometry,
                    uint64_t peer = 1, wire::CallOptions options = {.layer = kLayer}) {
    return MakeCall(geometry, options,
                    PlanFor(*store_, model_.spec(), options.layer, routing.routing()),
                    routing.rows(), peer, clock_.Elapsed());
  }
  void Add(IncomingCall call) {
    std::vector<IncomingCall> calls;
    calls.push_back(std::move(call));
    batcher_->Add(calls);
  }
  void RunAll() {
    while (!batcher_->idle()) batcher_->RunBatch();
  }
  // What one process computes.
  Matrix Expected(const RandomRouting& routing, LayerIndex layer = kLayer) {
    Matrix sum(routing.rows().rows(), model_.spec().d_model);
    EXPECT_TRUE(ffn_->Run(layer, routing.routed(), sum.view()).ok());
    return sum;
  }
  // A strict answer added up as a router does: ascending expert id, which is the order of pairs.
  Matrix AddPairs(const IncomingCall& call) {
    Matrix sum(call.call.header.rows, model_.spec().d_model);
    std::vector<bool> begun(call.call.header.rows);
    for (size_t p = 0; p < call.call.pair_rows.size(); ++p) {
      const std::span<const float> from = call.reply_rows().f32().row(p);
      const size_t row = call.call.pair_rows[p];
      for (size_t c = 0; c < from.size(); ++c) {
        sum.row(row)[c] = begun[row] ? sum.row(row)[c] + from[c] : from[c];
      }
      begun[row] = true;
    }
    return sum;
  }

  LoadedModel model_;
  FakeClock clock_;
  Registry registry_;
  BatchMetrics metrics_{registry_, {{"shard", "3"}}};
  std::unique_ptr<Tracer> tracer_;  // null unless a test sets it
  CollectingAnswers answers_;
  std::unique_ptr<ExpertStore> store_;
  std::unique_ptr<ExpertFfn> ffn_;
  std::unique_ptr<RowBatcher> batcher_;
  bool sound_ = true;
};

TEST_F(RowBatcherTest, AnswersAreThoseOfOneProcessBitByBit) {
  for (const kernels::Isa isa : {kernels::Isa::kReference, BestIsa()}) {
    for (const size_t threads : {1, 3}) {
      Machine machine(threads, isa);
      Start(machine);
      for (const bool strict : {false, true}) {
        for (const size_t rows : {1, 2, 3, 7, 17, 33, 100}) {
          const RandomRouting routing(model_.spec(), rows, rows);
          Add(Call(routing, GeometryOf(model_.spec(), strict)));
          RunAll();
          ASSERT_EQ(answers_.answers.size(), 1u);
          const CollectingAnswers::Answer& answer = answers_.answers[0];
          ASSERT_EQ(answer.trailer.reason, NackReason::kNone);
          const Matrix sum = strict ? AddPairs(answer.call) : Matrix();
          const std::span<const float> got =
              strict ? sum.values()
                     : std::span<const float>(answer.call.reply_rows().f32().data(),
                                              rows * model_.spec().d_model);
          EXPECT_TRUE(SameBits(got, Expected(routing).values()))
              << rows << " rows, strict " << strict << ", " << kernels::NameOf(isa);
          answers_.answers.clear();
        }
      }
    }
  }
}

TEST_F(RowBatcherTest, ACallWithATraceIsASpanWhateverComesOfIt) {
  const testing::TraceCollector collector;
  tracer_ =
      *Tracer::Start({.endpoint = collector.endpoint(), .resource = {.service = "tessera-expert"}},
                     clock_, registry_);
  Machine machine;
  Start(machine);
  const RandomRouting routing(model_.spec(), 5, 1);
  const wire::FrameGeometry geometry = GeometryOf(model_.spec());
  const TraceContext trace =
      *ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  Add(Call(routing, geometry));
  Add(Call(routing, geometry, 2, {.layer = kLayer, .attempt = 3, .trace = &trace}));
  clock_.Advance(absl::Milliseconds(2));
  RunAll();
  Add(Call(routing, geometry, 2, {.layer = kLayer, .budget_us = 1, .trace = &trace}));
  clock_.Advance(absl::Milliseconds(2));
  RunAll();
  tracer_.reset();  // posts what waits
  const auto spans = collector.spans();
  ASSERT_EQ(spans.size(), 2u);
  for (const testing::CollectedSpan& span : spans) {
    EXPECT_EQ(span.name, "experts");
    EXPECT_EQ(span.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    EXPECT_EQ(span.parent, "00f067aa0ba902b7");
    EXPECT_EQ(span.attributes.at("tessera.layer"), "2");
    EXPECT_EQ(span.attributes.at("tessera.rows"), "5");
    EXPECT_EQ(span.end_ns - span.start_ns, 2'000'000);
  }
  EXPECT_FALSE(spans[0].has_failed);
  EXPECT_EQ(spans[0].attributes.at("tessera.attempt"), "3");
  EXPECT_EQ(spans[0].attributes.at("tessera.queue_seconds"), "0.002");
  EXPECT_THAT(spans[0].events, ::testing::ElementsAre("compute"));
  EXPECT_TRUE(spans[1].has_failed);
  EXPECT_EQ(spans[1].attributes.at("error.type"), "late");
}

TEST_F(RowBatcherTest, CompanyChangesNoBit) {
  Machine machine;
  Start(machine);
  std::vector<RandomRouting> routings;
  for (uint64_t peer = 1; peer <= 5; ++peer) routings.emplace_back(model_.spec(), 3 * peer, peer);
  for (uint64_t peer = 1; peer <= 5; ++peer) {
    Add(Call(routings[peer - 1], GeometryOf(model_.spec(), /*strict=*/peer % 2 == 0), peer));
  }
  EXPECT_EQ(batcher_->rows_queued(), 3u + 6 + 9 + 12 + 15);
  batcher_->RunBatch();
  ASSERT_EQ(answers_.answers.size(), 5u) << "one batch takes the layer's calls of all routers";
  EXPECT_EQ(batcher_->rows_queued(), 0u);
  for (const CollectingAnswers::Answer& answer : answers_.answers) {
    const size_t i = ToIndex(answer.call.peer) - 1;
    const Matrix expected = Expected(routings[i]);
    const bool strict = answer.call.geometry.strict;
    const Matrix sum = strict ? AddPairs(answer.call) : Matrix();
    const MatrixView rows = strict ? MatrixView() : answer.call.reply_rows().f32();
    EXPECT_TRUE(SameBits(
        strict ? sum.values() : std::span<const float>(rows.data(), rows.rows() * rows.cols()),
        expected.values()))
        << "router " << i;
    EXPECT_EQ(answer.trailer.experts_touched, model_.spec().expert_count);
  }
  EXPECT_EQ(metrics_.batches.value(), 1);
  EXPECT_EQ(metrics_.calls.value(), 5);
  EXPECT_EQ(metrics_.rows.value(), 45);
  EXPECT_EQ(metrics_.pairs.value(), 90);
  EXPECT_EQ(metrics_.expert_reads.value(), static_cast<double>(model_.spec().expert_count));
  EXPECT_EQ(batcher_->totals().calls, 5u);
  EXPECT_EQ(batcher_->totals().rows, 45u);
}

TEST_F(RowBatcherTest, BF16RowsAreRoundedOnceEachWay) {
  Machine machine;
  Start(machine);
  const RandomRouting routing(model_.spec(), 21, 9);
  Matrix rounded(21, model_.spec().d_model);
  for (size_t i = 0; i < rounded.values().size(); ++i) {
    rounded.values()[i] = ToFloat(ToBF16(routing.rows().data()[i]));
  }
  Matrix expected(21, model_.spec().d_model);
  ASSERT_TRUE(
      ffn_->Run(kLayer, {std::as_const(rounded).view(), routing.routing()}, expected.view()).ok());
  Add(Call(routing, GeometryOf(model_.spec(), false, RowDType::kBF16, RowDType::kF32)));
  Add(Call(routing, GeometryOf(model_.spec(), false, RowDType::kBF16, RowDType::kBF16), 2));
  RunAll();
  ASSERT_EQ(answers_.answers.size(), 2u);
  const MatrixView exact = answers_.answers[0].call.reply_rows().f32();
  EXPECT_TRUE(SameBits({exact.data(), expected.values().size()}, expected.values()));
  const std::span<const BF16> rows = answers_.answers[1].call.reply_rows().bf16();
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].bits, ToBF16(expected.values()[i]).bits) << i;
  }
}

TEST_F(RowBatcherTest, RowsThatVisitNobodyHereAreZero) {
  Machine machine;
  Start(machine);
  const RandomRouting routing(model_.spec(), 4, 1);
  ShardPlan plan = PlanFor(*store_, model_.spec(), kLayer, routing.routing());
  plan.segments.resize(1);
  plan.segments[0].pair_count = 1;
  plan.pair_rows = {2};
  plan.pair_weights = {1.0f};
  Add(MakeCall(GeometryOf(model_.spec()), {.layer = kLayer}, plan, routing.rows()));
  RunAll();
  const MatrixView rows = answers_.answers.at(0).call.reply_rows().f32();
  EXPECT_THAT(rows.row(0), ::testing::Each(0.0f));
  EXPECT_THAT(rows.row(2), ::testing::Contains(::testing::Ne(0.0f)));
}

TEST_F(RowBatcherTest, WhatIsNotHereAsNamedIsRefused) {
  Machine machine;
  Start(machine);
  batcher_->set_epoch(Epoch{17});
  const RandomRouting routing(model_.spec(), 3, 1);
  const ShardPlan good = PlanFor(*store_, model_.spec(), kLayer, routing.routing());
  const auto add = [&](const ShardPlan& plan) {
    Add(MakeCall(GeometryOf(model_.spec()), {.layer = kLayer}, plan, routing.rows()));
  };
  ShardPlan plan = good;
  plan.segments.back().slot = 1 << 20;  // no such slot
  add(plan);
  plan.segments.back().slot = static_cast<uint32_t>(store_->Snapshot()->slot_count() - 1);  // hole
  add(plan);
  plan.segments.back().slot = good.segments.front().slot;  // another unit's
  add(plan);
  plan = good;
  ++plan.segments.back().weights_version;
  add(plan);
  add(good);
  RunAll();
  std::vector<NackReason> reasons;
  for (const auto& answer : answers_.answers) reasons.push_back(answer.trailer.reason);
  EXPECT_THAT(reasons, ::testing::ElementsAre(NackReason::kNotHosted, NackReason::kNotHosted,
                                              NackReason::kNotHosted, NackReason::kWrongVersion,
                                              NackReason::kNone));
  EXPECT_EQ(answers_.answers[0].epoch, Epoch{17});
  EXPECT_EQ(answers_.answers[4].trailer.epoch, 17u);
  EXPECT_EQ(batcher_->totals().nacks[static_cast<size_t>(NackReason::kNotHosted)], 3u);
  EXPECT_EQ(metrics_.nacks[static_cast<size_t>(NackReason::kWrongVersion)].value(), 1);
  EXPECT_THAT(registry_.Text(), ::testing::HasSubstr("reason=\"wrong_version\""));
}

TEST_F(RowBatcherTest, LateCallsAreNotComputed) {
  Machine machine;
  Start(machine);
  const RandomRouting routing(model_.spec(), 3, 1);
  Add(Call(routing, GeometryOf(model_.spec()), 1, {.layer = kLayer, .budget_us = 1000}));
  Add(Call(routing, GeometryOf(model_.spec()), 2, {.layer = kLayer, .budget_us = 3000}));
  Add(Call(routing, GeometryOf(model_.spec()), 3, {.layer = kLayer}));
  clock_.Advance(absl::Milliseconds(2));
  RunAll();
  ASSERT_EQ(answers_.answers.size(), 3u);
  EXPECT_EQ(answers_.answers[0].trailer.reason, NackReason::kLate);
  EXPECT_EQ(answers_.answers[0].call.peer, PeerId{1});
  EXPECT_EQ(answers_.answers[1].trailer.reason, NackReason::kNone);
  EXPECT_EQ(answers_.answers[1].trailer.queue_us, 2000u);
  EXPECT_EQ(batcher_->load().WaitMedian(clock_.Elapsed()), absl::Microseconds(2048));
}

TEST_F(RowBatcherTest, NothingComputedFromDamagedWeightsGoesOut) {
  Machine machine;
  Start(machine);
  sound_ = false;
  Add(Call(RandomRouting(model_.spec(), 3, 1), GeometryOf(model_.spec())));
  RunAll();
  EXPECT_EQ(answers_.answers.at(0).trailer.reason, NackReason::kFailed);
}

TEST_F(RowBatcherTest, ABatchIsOneLayerAndBounded) {
  Machine machine;
  Start(machine, {.pairs_max = 12});
  const RandomRouting routing(model_.spec(), 3, 1);  // 6 pairs
  for (uint64_t peer = 1; peer <= 3; ++peer) Add(Call(routing, GeometryOf(model_.spec()), peer));
  Add(Call(routing, GeometryOf(model_.spec()), 4, {.layer = LayerIndex{3}}));
  batcher_->RunBatch();
  EXPECT_EQ(answers_.answers.size(), 2u);
  EXPECT_EQ(answers_.answers[0].trailer.rows_queued, 6u);
  RunAll();
  EXPECT_EQ(answers_.answers.size(), 4u);
  EXPECT_EQ(metrics_.batches.value(), 3);
}

TEST_F(RowBatcherTest, RefuseAllLeavesNothing) {
  Machine machine;
  Start(machine);
  for (uint32_t layer = 1; layer <= 3; ++layer) {
    Add(Call(RandomRouting(model_.spec(), 3, 1), GeometryOf(model_.spec()), 1,
             {.layer = LayerIndex{layer}}));
  }
  batcher_->RefuseAll(NackReason::kDraining);
  EXPECT_TRUE(batcher_->idle());
  ASSERT_EQ(answers_.answers.size(), 3u);
  EXPECT_EQ(answers_.answers[2].trailer.reason, NackReason::kDraining);
  EXPECT_EQ(batcher_->rows_queued(), 0u);
}

TEST_F(RowBatcherTest, UnitsAreCounted) {
  Machine machine;
  Start(machine);
  const RandomRouting routing(model_.spec(), 5, 1);
  Add(Call(routing, GeometryOf(model_.spec())));
  RunAll();
  uint64_t rows = 0;
  for (const ExpertUnit& unit : AllUnits(model_.spec())) {
    const UnitCounters::Counts counts = batcher_->units().Of(unit);
    rows += counts.rows;
    EXPECT_EQ(counts.calls, counts.rows > 0 ? 1u : 0u);
    EXPECT_TRUE(unit.layer == kLayer || counts.rows == 0);
  }
  EXPECT_EQ(rows, 10u);
}

}  // namespace
}  // namespace tessera::expert_shard
