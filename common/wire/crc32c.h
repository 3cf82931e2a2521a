#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tessera::wire {

// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78, as in RFC 3720). Continues `seed`, the
// checksum of what came before: Crc32c(b, Crc32c(a)) is the checksum of a followed by b.
// Uses the SSE4.2 instruction on three interleaved streams where there is one.
uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t seed = 0);

// The same, bit-equal, by table: what runs without SSE4.2, and the oracle of the test.
uint32_t Crc32cPortable(std::span<const std::byte> bytes, uint32_t seed = 0);

}  // namespace tessera::wire
