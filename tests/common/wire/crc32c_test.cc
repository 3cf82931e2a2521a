#include "common/wire/crc32c.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "common/base/random.h"

namespace tessera::wire {
namespace {

std::vector<std::byte> Bytes(const char* text) {
  std::vector<std::byte> bytes(std::strlen(text));
  std::memcpy(bytes.data(), text, bytes.size());
  return bytes;
}

TEST(Crc32cTest, PublishedValues) {
  EXPECT_EQ(Crc32c(Bytes("123456789")), 0xe3069283u);
  const std::array<std::byte, 32> zeros{};
  EXPECT_EQ(Crc32c(zeros), 0x8a9136aau);  // RFC 3720, B.4
  std::array<std::byte, 32> ones;
  ones.fill(std::byte{0xff});
  EXPECT_EQ(Crc32c(ones), 0x62a8ab43u);
  EXPECT_EQ(Crc32c({}), 0u);
}

TEST(Crc32cTest, FastEqualsPortableAtEveryLengthAndOffset) {
  Random random(1);
  std::vector<std::byte> bytes(6000);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.Bits());
  for (size_t length = 0; length < 5900; length += 1 + length / 40) {
    const auto piece = std::span(bytes).subspan(length % 13, length);
    ASSERT_EQ(Crc32c(piece, 77), Crc32cPortable(piece, 77)) << length;
  }
}

TEST(Crc32cTest, ContinuesWhereAnotherEnded) {
  const auto bytes = Bytes("the quick brown fox");
  const auto all = std::span(bytes);
  EXPECT_EQ(Crc32c(all.subspan(7), Crc32c(all.first(7))), Crc32c(all));
}

}  // namespace
}  // namespace tessera::wire
