#include "common/base/entropy.h"

#include <unistd.h>

#include "common/base/check.h"

namespace tessera {

// A kernel that starts has no entropy for a moment: getentropy waits. It fails only where a sandbox
// forbids it.
void FillWithEntropy(std::span<std::byte> bytes) {
  TESSERA_CHECK(getentropy(bytes.data(), bytes.size()) == 0);
}

uint64_t FreshNumber() {
  uint64_t number = 0;
  while (number == 0) FillWithEntropy(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

}  // namespace tessera
