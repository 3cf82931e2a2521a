#pragma once

// Random bits of the kernel: for secrets, and for numbers that must not come twice in a cluster.
// What has to come again with its seed is in random.h.

#include <cstddef>
#include <cstdint>
#include <span>

namespace tessera {

// At most 256 bytes.
void FillWithEntropy(std::span<std::byte> bytes);

// 64 bits; never 0, which says "none" in messages.
uint64_t FreshNumber();

}  // namespace tessera
