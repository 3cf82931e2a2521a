// Feeds the frame readers with damaged frames: whatever arrives gives a status or a view whose
// every index is inside. Deterministic: a failing round prints its number, which is its seed.

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "common/wire/call_wire.h"
#include "common/wire/hello_wire.h"
#include "common/wire/reply_wire.h"
#include "tests/common/wire/wire_samples.h"

namespace tessera::wire {
namespace {

constexpr uint64_t kRounds = 60000;

// Touches all a view shows, as a shard or a router would.
double Use(const FrameGeometry& geometry, const CallView& call) {
  double sum = 0;
  size_t pair = 0;
  std::vector<float> row(geometry.d_model);
  for (const CallSegment& segment : call.segments) {
    for (uint32_t i = 0; i < segment.pair_count; ++i, ++pair) {
      call.rows.ReadRow(call.pair_rows[pair], row);
      sum += call.pair_weights[pair] + row.front() + row.back();
    }
  }
  EXPECT_EQ(pair, call.pair_rows.size());
  return sum;
}

double Use(const FrameGeometry& geometry, const ReplyView& reply) {
  std::vector<float> sum(geometry.d_model);
  for (size_t i = 0; i < reply.rows.rows; ++i) reply.rows.AddRow(i, sum);
  return sum.back();
}

// Reads a frame the way a receiver does. True if something came out.
bool Receive(const FrameGeometry& geometry, std::span<const std::byte> frame) {
  const auto header = ReadHeader(frame);
  if (!header.ok() || !CheckPayload(*header, frame).ok()) return false;
  if (header->type == FrameType::kHello) return ReadHello(*header, frame).ok();
  if (const auto call = ReadCall(geometry, *header, frame); call.ok()) {
    Use(geometry, *call);
    return true;
  }
  if (const auto reply = ReadReply(geometry, *header, frame); reply.ok()) {
    Use(geometry, *reply);
    return true;
  }
  return false;
}

FrameMemory ValidFrame(Random& random, const FrameGeometry& geometry) {
  const uint64_t kind = random.Below(4);
  if (kind == 0) {
    Hello hello;
    hello.session = 1;
    hello.credits = 2;
    hello.geometry = geometry;
    FrameMemory memory(kHelloFrameBytes);
    WriteHello(hello, false, memory.span());
    return memory;
  }
  if (kind == 1) {
    FrameMemory memory(ReplyBytesMax(geometry));
    const size_t rows = random.Below(4);
    ReplyTrailer trailer;
    if (rows == 0) trailer.reason = NackReason::kLate;
    const FrameHeader header =
        WriteReply(geometry, rows == 0 ? FrameType::kNack : FrameType::kReply, {}, rows, trailer,
                   memory.span());
    return FrameMemory(SealFrame(header, random.Below(2) == 0, memory.span()));
  }
  return SampleCall(random, 1 + random.Below(6), geometry, random.Below(2) == 0);
}

// Interesting values in place of some bytes.
void Damage(Random& random, std::span<std::byte> frame) {
  static constexpr uint64_t kValues[] = {
      0,          1,          0x7f,       0xff,         0xffff,
      0x7fffffff, 0xffffffff, 0x80000000, ~uint64_t{0}, uint64_t{1} << 63};
  for (uint64_t n = 1 + random.Below(4); n > 0; --n) {
    // Half of the time in the header: that is where lengths are.
    const size_t bound = random.Below(2) == 0 ? kFrameHeaderBytes : frame.size();
    const size_t at = random.Below(bound);
    const size_t bytes = std::min<size_t>(size_t{1} << random.Below(4), frame.size() - at);
    const uint64_t value = random.Below(2) == 0 ? random.Bits() : kValues[random.Below(10)];
    std::memcpy(frame.data() + at, &value, bytes);
  }
}

// Seals the damage: magic, version, length and checksums fit, the meaning does not. This is what
// reaches the inner checks.
void Reseal(Random& random, std::span<std::byte> frame) {
  FrameHeader header;
  const auto field = [&](size_t at, auto& value) {
    std::memcpy(&value, frame.data() + at, sizeof value);
  };
  uint8_t type;
  uint8_t dtype;
  field(5, type);
  field(15, dtype);
  header.type = static_cast<FrameType>(type);
  header.dtype = static_cast<RowDType>(dtype);
  field(6, header.flags);
  field(8, header.session);
  field(12, header.layer);
  field(32, header.rows);
  field(36, header.pairs);
  field(50, header.segments);
  header.payload_bytes = static_cast<uint32_t>(frame.size() - kFrameHeaderBytes);
  SealFrame(header, random.Below(2) == 0, frame);
}

TEST(FrameFuzzTest, DamagedFramesGiveAStatusOrASoundView) {
  uint64_t accepted = 0;
  for (uint64_t round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    Random random(round);
    FrameGeometry geometry = SampleGeometry();
    geometry.strict = random.Below(2) == 0;
    FrameMemory valid = ValidFrame(random, geometry);
    if (round % 16 == 0) {
      ASSERT_TRUE(Receive(geometry, valid.span()));
    }
    Damage(random, valid.span());
    if (random.Below(4) != 0) Reseal(random, valid.span());
    // A copy of exactly the announced size, so that a byte too far is seen by the sanitizer.
    const size_t cut =
        random.Below(8) == 0 ? random.Below(valid.span().size() + 1) : valid.span().size();
    FrameMemory frame(valid.span().first(cut));
    accepted += Receive(geometry, frame.span());
  }
  // Some damage is harmless (a weight, a row); all of it would mean that nothing is checked.
  EXPECT_GT(accepted, kRounds / 50);
  EXPECT_LT(accepted, kRounds * 3 / 4);
}

TEST(FrameFuzzTest, NoiseIsRefused) {
  Random random(7);
  for (int round = 0; round < 2000; ++round) {
    FrameMemory noise(random.Below(300));
    for (std::byte& b : noise.span()) b = static_cast<std::byte>(random.Bits());
    ASSERT_FALSE(Receive(SampleGeometry(), noise.span()));
  }
}

}  // namespace
}  // namespace tessera::wire
