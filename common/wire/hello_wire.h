#pragma once

// HELLO: the first frame each way on a data connection. What it says was agreed over gRPC before
// (OpenSession); the token shows that this connection belongs to that session.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/wire/expert_wire.h"

namespace tessera::wire {

using SessionToken = std::array<uint8_t, 16>;
using ModelHash = std::array<uint8_t, 32>;

struct Hello {
  uint32_t session = 0;      // the router's incarnation, > 0
  uint64_t incarnation = 0;  // of the sender's process
  SessionToken token{};      // given in OpenSession; the answer repeats it
  ModelHash model_hash{};
  FrameGeometry geometry;
  uint32_t credits = 0;          // asked for; the answer: granted, 1..1024
  bool checksum_payload = true;  // both ends seal payloads with a checksum
  uint32_t kernel_level = 0;     // arithmetic of the sender; must be equal in strict mode

  friend bool operator==(const Hello&, const Hello&) = default;
};
inline constexpr uint32_t kCreditsMax = 1024;

// A HELLO frame has always this size.
inline constexpr size_t kHelloFrameBytes = 64 + 128;

// Writes and seals a whole frame; `answer`: the shard's. `frame` has kHelloFrameBytes.
std::span<const std::byte> WriteHello(const Hello& hello, bool answer, std::span<std::byte> frame);

// `frame` passed ReadHeader with this `header` and CheckPayload.
// kDataLoss if its length or a number is impossible.
absl::StatusOr<Hello> ReadHello(const FrameHeader& header, std::span<const std::byte> frame);

// What a shard checks before it accepts: kFailedPrecondition naming the first thing in which
// `theirs` differs from `ours`, with both values. Credits, token, session and incarnation are not
// compared; kernel levels only in strict mode.
absl::Status CompareHello(const Hello& ours, const Hello& theirs);

// Equality in a time that does not depend on the contents.
bool SameToken(const SessionToken& a, const SessionToken& b);

}  // namespace tessera::wire
