#include "common/wire/reply_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/common/wire/wire_samples.h"

namespace tessera::wire {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<ReplyView> Read(const FrameGeometry& geometry, std::span<const std::byte> frame) {
  const auto header = ReadHeader(frame);
  if (!header.ok()) return header.status();
  return ReadReply(geometry, *header, frame);
}

TEST(ReplyWireTest, RepliesSurviveTheRoundTrip) {
  for (const RowDType dtype : {RowDType::kF32, RowDType::kBF16}) {
    FrameGeometry geometry = SampleGeometry();
    geometry.dtype_down = dtype;
    FrameMemory memory(ReplyBytesMax(geometry));
    const MutableRows rows = ReplyRows(geometry, 3, memory.span());
    const std::vector<float> row(geometry.d_model, 0.75f);
    for (size_t i = 0; i < 3; ++i) rows.WriteRow(i, row);
    FrameHeader call;
    call.type = FrameType::kCall;
    call.call_id = 77;
    call.slot = 2;
    call.generation = 5;
    call.session = 4;
    ReplyTrailer trailer;
    trailer.compute_us = 123;
    trailer.epoch = 9;
    trailer.credits = 3;
    const FrameHeader header =
        WriteReply(geometry, FrameType::kReply, call, 3, trailer, memory.span());
    const auto reply = Read(geometry, SealFrame(header, true, memory.span()));
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->header.call_id, 77u);
    EXPECT_EQ(reply->header.slot, 2);
    EXPECT_EQ(reply->header.generation, 5);
    EXPECT_EQ(reply->trailer.compute_us, 123u);
    EXPECT_EQ(reply->trailer.epoch, 9u);
    std::vector<float> sum(geometry.d_model, 1.0f);
    reply->rows.AddRow(2, sum);
    EXPECT_EQ(sum.back(), 1.75f);
  }
}

TEST(ReplyWireTest, NacksCarryTheirReason) {
  const FrameGeometry geometry = SampleGeometry();
  FrameMemory memory(ReplyBytesMax(geometry));
  ReplyTrailer trailer;
  trailer.reason = NackReason::kDraining;
  const FrameHeader header = WriteReply(geometry, FrameType::kNack, {}, 0, trailer, memory.span());
  const auto nack = Read(geometry, SealFrame(header, true, memory.span()));
  ASSERT_TRUE(nack.ok()) << nack.status();
  EXPECT_EQ(NameOf(nack->trailer.reason), "draining");
  EXPECT_EQ(nack->rows.rows, 0u);
}

TEST(ReplyWireTest, TheReaderNamesWhatIsWrong) {
  const FrameGeometry geometry = SampleGeometry();
  const auto read = [&](auto damage) {
    FrameMemory memory(ReplyBytesMax(geometry));
    ReplyTrailer trailer;
    FrameHeader header = WriteReply(geometry, FrameType::kReply, {}, 3, trailer, memory.span());
    damage(header, memory.span());
    const auto reply = Read(geometry, SealFrame(header, true, memory.span()));
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kDataLoss);
    return std::string(reply.status().message());
  };
  using Frame = std::span<std::byte>;
  EXPECT_THAT(read([](FrameHeader& h, Frame) { h.rows = 0; }), HasSubstr("has 0 rows"));
  EXPECT_THAT(read([](FrameHeader& h, Frame) { h.rows = 33; }), HasSubstr("has 33 rows"));
  EXPECT_THAT(read([](FrameHeader& h, Frame) { h.rows = 9; }), HasSubstr("should have"));
  EXPECT_THAT(read([](FrameHeader& h, Frame) { h.dtype = RowDType::kBF16; }), HasSubstr("bf16"));
  EXPECT_THAT(read([](FrameHeader& h, Frame) { h.type = FrameType::kCall; }),
              HasSubstr("another frame"));
  EXPECT_THAT(read([&](FrameHeader& h, Frame frame) {
                frame[LayOutReply(geometry, h.rows).trailer_offset] = std::byte{99};
              }),
              HasSubstr("reason 99"));
}

}  // namespace
}  // namespace tessera::wire
