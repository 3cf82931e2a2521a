#include "common/wire/expert_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/common/wire/wire_samples.h"

namespace tessera::wire {
namespace {

using ::testing::HasSubstr;

FrameHeader FullHeader() {
  FrameHeader h;
  h.type = FrameType::kReply;
  h.flags = kStrict | kRetry;
  h.session = 0x01020304;
  h.layer = 0x1112;
  h.micro_batch = 0x21;
  h.dtype = RowDType::kBF16;
  h.call_id = 0x3132333435363738;
  h.epoch = Epoch{0x4142434445464748};
  h.rows = 0x51525354;
  h.pairs = 0x61626364;
  h.budget_us = 0x71727374;
  h.slot = 0x8182;
  h.generation = 0x9192;
  h.attempt = 0xa1;
  h.priority = 0xb1;
  h.segments = 0xc1c2;
  h.payload_bytes = 100;
  return h;
}

TEST(ExpertWireTest, HeaderSurvivesTheRoundTrip) {
  FrameMemory memory(kFrameHeaderBytes + 100);
  for (const bool checksum : {false, true}) {
    const auto frame = SealFrame(FullHeader(), checksum, memory.span());
    const auto read = ReadHeader(frame);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->has(kPayloadChecksum), checksum);
    FrameHeader expected = FullHeader();
    expected.flags = read->flags;
    expected.payload_crc = read->payload_crc;
    EXPECT_EQ(*read, expected);
    EXPECT_TRUE(CheckPayload(*read, frame).ok());
  }
}

// The positions are the contract with other implementations.
TEST(ExpertWireTest, FieldsLieWhereTheTableSays) {
  FrameMemory memory(kFrameHeaderBytes + 100);
  const auto frame = SealFrame(FullHeader(), false, memory.span());
  const auto byte = [&](size_t i) { return static_cast<int>(frame[i]); };
  EXPECT_EQ(std::memcmp(frame.data(), "TSSF", 4), 0);
  EXPECT_EQ(byte(4), 1);
  EXPECT_EQ(byte(5), 2);
  EXPECT_EQ(byte(6), 5);
  EXPECT_EQ(byte(8), 0x04);
  EXPECT_EQ(byte(12), 0x12);
  EXPECT_EQ(byte(14), 0x21);
  EXPECT_EQ(byte(15), 2);
  EXPECT_EQ(byte(16), 0x38);
  EXPECT_EQ(byte(24), 0x48);
  EXPECT_EQ(byte(32), 0x54);
  EXPECT_EQ(byte(36), 0x64);
  EXPECT_EQ(byte(40), 0x74);
  EXPECT_EQ(byte(44), 0x82);
  EXPECT_EQ(byte(46), 0x92);
  EXPECT_EQ(byte(48), 0xa1);
  EXPECT_EQ(byte(49), 0xb1);
  EXPECT_EQ(byte(50), 0xc2);
  EXPECT_EQ(byte(52), 100);
}

TEST(ExpertWireTest, AnyFlippedBitOfTheHeaderIsNoticed) {
  FrameMemory memory(kFrameHeaderBytes + 100);
  const auto sealed = SealFrame(FullHeader(), true, memory.span());
  for (size_t bit = 0; bit < kFrameHeaderBytes * 8; ++bit) {
    FrameMemory copy(sealed);
    copy.span()[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    EXPECT_FALSE(ReadHeader(copy.span()).ok()) << "bit " << bit;
  }
}

TEST(ExpertWireTest, ErrorsSayWhatWasWrong) {
  FrameMemory memory(kFrameHeaderBytes + 100);
  const auto frame = SealFrame(FullHeader(), true, memory.span());
  EXPECT_THAT(ReadHeader(frame.first(63)).status().message(), HasSubstr("63 bytes"));
  EXPECT_THAT(ReadHeader(frame.first(163)).status().message(), HasSubstr("announces 100"));
  FrameMemory wrong(frame);
  wrong.span()[4] = std::byte{9};
  EXPECT_EQ(ReadHeader(wrong.span()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ReadHeader(wrong.span()).status().message(), HasSubstr("version 9"));
  FrameMemory payload(frame);
  payload.span()[99] ^= std::byte{1};
  const auto header = ReadHeader(payload.span());
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(CheckPayload(*header, payload.span()).code(), absl::StatusCode::kDataLoss);
}

TEST(ExpertWireTest, UnknownTypesAreRefusedThoughTheChecksumFits) {
  FrameMemory memory(kFrameHeaderBytes);
  FrameHeader header;
  header.type = static_cast<FrameType>(8);
  EXPECT_EQ(ReadHeader(SealFrame(header, true, memory.span())).status().code(),
            absl::StatusCode::kDataLoss);
  header.type = FrameType::kPing;
  header.dtype = static_cast<RowDType>(0);
  EXPECT_EQ(ReadHeader(SealFrame(header, true, memory.span())).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(ExpertWireTest, GeometryIsChecked) {
  EXPECT_TRUE(CheckGeometry(SampleGeometry()).ok());
  FrameGeometry geometry = SampleGeometry();
  geometry.rows_max = 0;
  EXPECT_THAT(CheckGeometry(geometry).message(), HasSubstr("rows_max is 0"));
  geometry = SampleGeometry();
  geometry.d_model = 65536;
  geometry.rows_max = 65536;
  geometry.pairs_max = 65536;
  EXPECT_THAT(CheckGeometry(geometry).message(), HasSubstr("largest call in bytes"));
}

}  // namespace
}  // namespace tessera::wire
