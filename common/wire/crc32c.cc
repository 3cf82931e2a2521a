#include "common/wire/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace tessera::wire {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78u;

// The state after eight more bits, for each value of the low byte.
constexpr std::array<uint32_t, 256> MakeByteTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) ? kPolynomial : 0u);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kByteTable = MakeByteTable();

constexpr uint32_t NextByte(uint32_t crc, uint8_t byte) {
  return (crc >> 8) ^ kByteTable[(crc ^ byte) & 0xffu];
}

#if defined(__x86_64__)

// Bytes of one of the three streams: long enough to hide the joins, short enough that one 3 KB row
// is still cut in three.
constexpr size_t kStreamBytes = 512;

// The state moved over kStreamBytes zero bytes, as four tables by byte of the state: the move is
// linear, so it is known from its value on the 32 single bits.
constexpr std::array<std::array<uint32_t, 256>, 4> MakeSkipTables() {
  std::array<uint32_t, 32> of_bit{};
  for (uint32_t bit = 0; bit < 32; ++bit) {
    uint32_t crc = 1u << bit;
    for (size_t i = 0; i < kStreamBytes; ++i) crc = NextByte(crc, 0);
    of_bit[bit] = crc;
  }
  std::array<std::array<uint32_t, 256>, 4> tables{};
  for (uint32_t byte = 0; byte < 4; ++byte) {
    for (uint32_t value = 0; value < 256; ++value) {
      for (uint32_t bit = 0; bit < 8; ++bit) {
        if (value >> bit & 1u) tables[byte][value] ^= of_bit[byte * 8 + bit];
      }
    }
  }
  return tables;
}
constexpr std::array<std::array<uint32_t, 256>, 4> kSkip = MakeSkipTables();

uint32_t SkipStream(uint32_t crc) {
  return kSkip[0][crc & 0xff] ^ kSkip[1][crc >> 8 & 0xff] ^ kSkip[2][crc >> 16 & 0xff] ^
         kSkip[3][crc >> 24];
}

uint64_t Load64(const std::byte* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// The instruction takes three cycles and can start every cycle: three streams keep it busy.
__attribute__((target("sse4.2"))) uint32_t HardwareCrc(std::span<const std::byte> bytes,
                                                       uint32_t crc) {
  const std::byte* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 3 * kStreamBytes; p += 3 * kStreamBytes, left -= 3 * kStreamBytes) {
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < kStreamBytes; i += 8) {
      a = _mm_crc32_u64(a, Load64(p + i));
      b = _mm_crc32_u64(b, Load64(p + i + kStreamBytes));
      c = _mm_crc32_u64(c, Load64(p + i + 2 * kStreamBytes));
    }
    crc = SkipStream(SkipStream(static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b)) ^
          static_cast<uint32_t>(c);
  }
  for (; left >= 8; p += 8, left -= 8) {
    crc = static_cast<uint32_t>(_mm_crc32_u64(crc, Load64(p)));
  }
  for (; left > 0; ++p, --left) crc = _mm_crc32_u8(crc, static_cast<uint8_t>(*p));
  return crc;
}

#endif

}  // namespace

uint32_t Crc32cPortable(std::span<const std::byte> bytes, uint32_t seed) {
  uint32_t crc = ~seed;
  for (const std::byte byte : bytes) crc = NextByte(crc, static_cast<uint8_t>(byte));
  return ~crc;
}

uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t seed) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~HardwareCrc(bytes, ~seed);
#endif
  return Crc32cPortable(bytes, seed);
}

}  // namespace tessera::wire
