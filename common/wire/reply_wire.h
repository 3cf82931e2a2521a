#pragma once

// REPLY: the rows of a call in its order (strict: one per pair, in the order of its pairs), then a
// 64-byte trailer. NACK and CREDIT: the trailer alone.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/wire/expert_wire.h"
#include "common/wire/rows_wire.h"

namespace tessera::wire {

// Why a call was not computed. A NACK costs nothing: nothing was lost, the call may go elsewhere.
enum class NackReason : uint32_t {
  kNone = 0,
  kNotHosted = 1,     // a slot does not hold the named expert: read the newer placement
  kWrongVersion = 2,  // it holds another version of its weights
  kDraining = 3,      // the shard takes nothing new
  kOverloaded = 4,    // the slot's last call is still being computed
  kLate = 5,          // its budget had run out
  kCorrupt = 6,       // the payload's checksum did not match: send again
  kRefused = 7,       // the greeting was refused; the connection ends
  kFailed = 8,        // the shard could not compute it
};
std::string_view NameOf(NackReason reason);  // "not_hosted", ...

// 64 bytes, as they travel: what a shard tells about a call and itself, free of charge.
struct ReplyTrailer {
  NackReason reason = NackReason::kNone;
  uint32_t queue_us = 0;         // from arrival to the start of computing
  uint32_t compute_us = 0;       // from start to end
  uint32_t experts_touched = 0;  // distinct weights read for the batch this call was in
  uint32_t rows_queued = 0;      // waiting at the shard: its load
  uint32_t credits = 0;          // calls the router may have in flight from now on
  uint64_t epoch = 0;            // newest placement the shard knows
  uint64_t incarnation = 0;      // of the shard
  uint64_t reserved[3] = {};
};
static_assert(sizeof(ReplyTrailer) == 64);

struct ReplyLayout {
  size_t rows_offset = 0;
  size_t trailer_offset = 0;
  size_t frame_bytes = 0;
};
// `rows` 0: NACK and CREDIT.
ReplyLayout LayOutReply(const FrameGeometry& geometry, size_t rows);

// Where a shard computes its answer: straight in the frame. Requires rows <= what the geometry
// allows and a frame of ReplyBytesMax bytes.
MutableRows ReplyRows(const FrameGeometry& geometry, size_t rows, std::span<std::byte> frame);

// Puts the trailer behind `rows` rows and makes the header that answers `call`; the frame is
// complete after SealFrame. `type` is kReply, kNack or kCredit; rows is 0 for the last two.
FrameHeader WriteReply(const FrameGeometry& geometry, FrameType type, const FrameHeader& call,
                       size_t rows, const ReplyTrailer& trailer, std::span<std::byte> frame);

// A received REPLY, NACK or CREDIT; valid as long as its frame.
struct ReplyView {
  FrameHeader header;
  RowsView rows;         // empty unless REPLY
  ReplyTrailer trailer;  // a copy
};

// `frame` passed ReadHeader with this `header` and CheckPayload, and is aligned to kFrameAlignment.
// kDataLoss if counts, dtype or length contradict the geometry.
absl::StatusOr<ReplyView> ReadReply(const FrameGeometry& geometry, const FrameHeader& header,
                                    std::span<const std::byte> frame);

}  // namespace tessera::wire
