#include "common/wire/call_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/common/wire/wire_samples.h"

namespace tessera::wire {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<CallView> Read(const FrameGeometry& geometry, std::span<const std::byte> frame) {
  const auto header = ReadHeader(frame);
  if (!header.ok()) return header.status();
  return ReadCall(geometry, *header, frame);
}

TEST(CallWireTest, CallsSurviveTheRoundTrip) {
  Random random(4);
  for (const RowDType dtype : {RowDType::kF32, RowDType::kBF16}) {
    FrameGeometry geometry = SampleGeometry();
    geometry.dtype_up = dtype;
    for (size_t rows = 1; rows <= 16; rows += 3) {
      const Matrix hidden = SampleRows(random, 2 * rows, geometry.d_model);
      const ShardPlan plan = SamplePlan(random, rows, geometry);
      FrameMemory memory(CallBytesMax(geometry));
      const CallOptions options{.micro_batch = 1,
                                .layer = LayerIndex{3},
                                .epoch = Epoch{12},
                                .budget_us = 5000,
                                .attempt = 2,
                                .priority = 7,
                                .flags = kRetry};
      const auto header = WriteCall(geometry, options, plan, hidden.view(), memory.span());
      ASSERT_TRUE(header.ok()) << header.status();
      const auto call = Read(geometry, SealFrame(*header, true, memory.span()));
      ASSERT_TRUE(call.ok()) << call.status();
      EXPECT_EQ(call->header.epoch, Epoch{12});
      EXPECT_EQ(call->header.attempt, 2);
      EXPECT_TRUE(call->header.has(kRetry));
      EXPECT_EQ(call->reply_rows(), rows);
      std::vector<float> row(geometry.d_model);
      for (size_t r = 0; r < rows; ++r) {
        call->rows.ReadRow(r, row);
        for (size_t c = 0; c < row.size(); ++c) {
          const float want = hidden.row(plan.rows[r])[c];
          ASSERT_EQ(row[c], dtype == RowDType::kF32 ? want : ToFloat(ToBF16(want)));
        }
      }
      ASSERT_EQ(call->segments.size(), plan.segments.size());
      for (size_t i = 0; i < plan.segments.size(); ++i) {
        EXPECT_EQ(call->segments[i].expert, plan.segments[i].expert);
        EXPECT_EQ(call->segments[i].slot, plan.segments[i].slot);
        EXPECT_EQ(call->segments[i].weights_version, plan.segments[i].weights_version);
        EXPECT_EQ(call->segments[i].pair_count, plan.segments[i].pair_count);
      }
      EXPECT_TRUE(std::equal(plan.pair_rows.begin(), plan.pair_rows.end(), call->pair_rows.begin(),
                             call->pair_rows.end()));
      EXPECT_TRUE(std::equal(plan.pair_weights.begin(), plan.pair_weights.end(),
                             call->pair_weights.begin(), call->pair_weights.end()));
    }
  }
}

TEST(CallWireTest, ATraceTravelsBehindTheRestAndCostsOthersNothing) {
  Random random(4);
  const FrameGeometry geometry = SampleGeometry();
  const Matrix hidden = SampleRows(random, 64, geometry.d_model);
  const TraceContext trace =
      *ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  for (const size_t rows : {size_t{1}, size_t{7}, size_t{geometry.rows_max}}) {
    const ShardPlan plan = SamplePlan(random, rows, geometry);
    FrameMemory plain(CallBytesMax(geometry));
    FrameMemory traced(CallBytesMax(geometry));
    const auto without = WriteCall(geometry, {}, plan, hidden.view(), plain.span());
    const auto with =
        WriteCall(geometry, {.flags = kHedge, .trace = &trace}, plan, hidden.view(), traced.span());
    ASSERT_TRUE(without.ok() && with.ok()) << with.status();
    const CallCounts counts{plan.rows.size(), plan.segments.size(), plan.pair_rows.size()};
    const size_t last = LayOutCall(geometry, counts).pair_weights_offset;
    EXPECT_EQ(kFrameHeaderBytes + without->payload_bytes, last + 4 * counts.pairs);
    EXPECT_EQ(kFrameHeaderBytes + with->payload_bytes, AlignSection(last + 4 * counts.pairs) + 32);
    const auto call = Read(geometry, SealFrame(*with, true, traced.span()));
    ASSERT_TRUE(call.ok()) << call.status();
    EXPECT_EQ(call->trace, trace);
    EXPECT_TRUE(call->header.has(kHedge));
    EXPECT_TRUE(std::equal(plan.pair_weights.begin(), plan.pair_weights.end(),
                           call->pair_weights.begin(), call->pair_weights.end()));
    EXPECT_FALSE(Read(geometry, SealFrame(*without, true, plain.span()))->trace.has_value());
  }
  TraceContext none = trace;
  none.span = kNoSpan;
  const ShardPlan plan = SamplePlan(random, 3, geometry);
  FrameMemory memory(CallBytesMax(geometry));
  auto header = WriteCall(geometry, {.trace = &none}, plan, hidden.view(), memory.span());
  EXPECT_THAT(Read(geometry, SealFrame(*header, true, memory.span())).status().message(),
              HasSubstr("a trace of zeros"));
  header->flags = 0;  // the section stands there, and nobody says so
  EXPECT_THAT(Read(geometry, SealFrame(*header, true, memory.span())).status().message(),
              HasSubstr("should have"));
}

TEST(CallWireTest, StrictCallsAnswerWithOneRowPerPair) {
  Random random(4);
  FrameGeometry geometry = SampleGeometry();
  geometry.strict = true;
  FrameMemory frame = SampleCall(random, 5, geometry);
  const auto call = Read(geometry, frame.span());
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->reply_rows(), call->pair_rows.size());
  EXPECT_THAT(Read(SampleGeometry(), frame.span()).status().message(), HasSubstr("strict=1"));
}

TEST(CallWireTest, TheWriterRefusesWhatDoesNotFit) {
  Random random(4);
  const FrameGeometry geometry = SampleGeometry();
  const Matrix hidden = SampleRows(random, 100, geometry.d_model);
  FrameMemory memory(CallBytesMax(geometry));
  EXPECT_EQ(WriteCall(geometry, {}, ShardPlan{}, hidden.view(), memory.span()).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(WriteCall(geometry, {}, SamplePlan(random, 33, geometry), hidden.view(), memory.span())
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(WriteCall(geometry, {}, SamplePlan(random, 4, geometry), hidden.view(),
                      memory.span().first(200))
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
}

// A well-sealed frame whose sender is broken.
struct BrokenCall {
  const char* says;
  std::function<void(FrameHeader&, ShardPlan&)> damage;
};

TEST(CallWireTest, TheReaderNamesWhatIsWrong) {
  const FrameGeometry geometry = SampleGeometry();
  const std::vector<BrokenCall> cases = {
      {"has 0 rows", [](FrameHeader& h, ShardPlan&) { h.rows = 0; }},
      {"has 33 rows", [](FrameHeader& h, ShardPlan&) { h.rows = 33; }},
      {"pairs, expected 1..128", [](FrameHeader& h, ShardPlan&) { h.pairs = 1u << 31; }},
      {"has 0 segments", [](FrameHeader& h, ShardPlan&) { h.segments = 0; }},
      {"should have", [](FrameHeader& h, ShardPlan&) { h.rows += 9; }},
      {"layer 6 of 6", [](FrameHeader& h, ShardPlan&) { h.layer = 6; }},
      {"f32 rows", [](FrameHeader& h, ShardPlan&) { h.dtype = RowDType::kF32; }},
      {"another frame", [](FrameHeader& h, ShardPlan&) { h.type = FrameType::kReply; }},
      {"names expert 16",
       [](FrameHeader&, ShardPlan& p) { p.segments.back().expert = ExpertId{16}; }},
      {"after", [](FrameHeader&, ShardPlan& p) { p.segments[1].expert = p.segments[0].expert; }},
      {"0 pairs", [](FrameHeader&, ShardPlan& p) { p.segments[0].pair_count = 0; }},
      {"pairs of", [](FrameHeader&, ShardPlan& p) { p.segments[0].pair_count = 0xffffffff; }},
      {"names row", [](FrameHeader&, ShardPlan& p) { p.pair_rows[0] = 4; }},
      {"names row 65535", [](FrameHeader&, ShardPlan& p) { p.pair_rows.back() = 65535; }},
      {"not finite", [](FrameHeader&, ShardPlan& p) {
         p.pair_weights[1] = std::numeric_limits<float>::infinity();
       }}};
  for (const BrokenCall& broken : cases) {
    ShardPlan plan;
    plan.rows = {0, 1, 2, 3};
    plan.segments = {{ExpertId{2}, 0, 0, 2}, {ExpertId{5}, 1, 0, 3}};
    plan.pair_rows = {0, 3, 0, 1, 2};
    plan.pair_weights = {.5f, .5f, .5f, .5f, .5f};
    FrameHeader ignored;
    broken.damage(ignored, plan);
    const Matrix hidden(4, geometry.d_model);
    FrameMemory memory(CallBytesMax(geometry));
    auto header = WriteCall(geometry, {}, plan, hidden.view(), memory.span());
    ASSERT_TRUE(header.ok());
    ShardPlan unused = plan;
    broken.damage(*header, unused);
    const auto call = Read(geometry, SealFrame(*header, true, memory.span()));
    EXPECT_EQ(call.status().code(), absl::StatusCode::kDataLoss) << broken.says;
    EXPECT_THAT(call.status().message(), HasSubstr(broken.says));
  }
}

}  // namespace
}  // namespace tessera::wire
