#pragma once

// Frames between router and expert shard: the 64-byte header every frame begins with.
//
//   [header 64][sections, each beginning at a multiple of 64]
//   CALL   rows | segments | pair rows | pair weights [| trace]   call_wire.h
//   REPLY  rows | trailer                                    reply_wire.h
//   NACK, CREDIT  trailer                                    reply_wire.h
//   HELLO  greeting                                          hello_wire.h
//   PING, DRAIN   nothing
//
// All numbers are little-endian. Frames are written straight into the memory they are sent from and
// read as views of the memory they arrived in; every length and index is checked before it is used.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"

namespace tessera::wire {

inline constexpr uint32_t kFrameMagic = 0x46535354;  // "TSSF" in memory
inline constexpr uint8_t kFrameVersion = 1;
inline constexpr size_t kFrameHeaderBytes = 64;
inline constexpr size_t kSectionAlignment = 64;  // of a section's offset in its frame
inline constexpr size_t kFrameAlignment = 8;     // that a frame's memory must have

enum class FrameType : uint8_t {
  kCall = 1,    // router -> shard: rows of one layer
  kReply = 2,   // shard -> router: their sums
  kNack = 3,    // shard -> router: the call was not computed, and why
  kCredit = 4,  // shard -> router: how many calls may be in flight from now on
  kPing = 5,    // either way; the answer carries kAnswer and the last finished call
  kHello = 6,   // first frame each way; the answer carries kAnswer
  kDrain = 7,   // shard -> router: send nothing new
};

// Bits of FrameHeader::flags.
enum FrameFlags : uint16_t {
  kStrict = 1,            // the reply has one unsummed row per pair
  kHedge = 2,             // a second copy of a call that may still be answered
  kRetry = 4,             // an earlier attempt failed
  kLastAttempt = 8,       // no other replica is left
  kAnswer = 16,           // of PING and HELLO
  kPayloadChecksum = 32,  // payload_crc is filled and must match
  kTraced = 64,           // the call has a trace section
};

// How numbers of a row travel.
enum class RowDType : uint8_t { kF32 = 1, kBF16 = 2 };
size_t SizeOf(RowDType dtype);
std::string_view NameOf(RowDType dtype);

// Bytes 0-63 of a frame, in order.
struct FrameHeader {
  // 0-3 magic, 4 version
  FrameType type = FrameType::kPing;  // 5
  uint16_t flags = 0;                 // 6-7
  uint32_t session = 0;             // 8-11: the router's incarnation; late replies are known by it
  uint16_t layer = 0;               // 12-13
  uint8_t micro_batch = 0;          // 14
  RowDType dtype = RowDType::kF32;  // 15: of the rows in this frame
  uint64_t call_id = 0;             // 16-23: rises within a session; frames may overtake each other
  Epoch epoch{};                    // 24-31: of the placement the call was planned with
  uint32_t rows = 0;                // 32-35: rows in this frame
  uint32_t pairs = 0;               // 36-39: (row, expert) pairs of the call
  uint32_t budget_us = 0;           // 40-43: time left; the shard drops what is late. 0: no limit
  uint16_t slot = 0;                // 44-45: receive slot of the call, < credits
  uint16_t generation = 0;          // 46-47: rises by one (mod 65536) with each use of the slot
  uint8_t attempt = 0;              // 48: 0 for the first
  uint8_t priority = 0;             // 49: larger goes first
  uint16_t segments = 0;            // 50-51: experts named by the call
  uint32_t payload_bytes = 0;       // 52-55: what follows the header
  uint32_t payload_crc = 0;         // 60-63; 56-59: CRC-32C of the header, these four bytes zero

  bool has(FrameFlags flag) const { return (flags & flag) != 0; }
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

// What both ends agreed on; sizes are checked against it.
struct FrameGeometry {
  uint32_t d_model = 0;       // numbers in a row, 1..65536
  uint32_t layer_count = 0;   // decoder layers
  uint32_t expert_count = 0;  // routed experts of a layer
  uint32_t rows_max = 0;      // of a call, 1..65536
  uint32_t pairs_max = 0;     // of a call, rows_max * top_k
  RowDType dtype_up = RowDType::kBF16;
  RowDType dtype_down = RowDType::kF32;
  bool strict = false;

  friend bool operator==(const FrameGeometry&, const FrameGeometry&) = default;
};
// kInvalidArgument naming the field that is out of range.
absl::Status CheckGeometry(const FrameGeometry& geometry);

// The largest frame each way.
size_t CallBytesMax(const FrameGeometry& geometry);
size_t ReplyBytesMax(const FrameGeometry& geometry);

// Completes the frame whose payload of header.payload_bytes already stands in `frame` behind the
// space for the header: writes header and checksums. With `checksum_payload` the payload is
// covered. Requires frame.size() >= 64 + payload_bytes. Returns the bytes to send.
std::span<const std::byte> SealFrame(FrameHeader header, bool checksum_payload,
                                     std::span<std::byte> frame);

// Reads and checks the header of a whole frame as it arrived: magic, version, header checksum,
// type, dtype, and that exactly payload_bytes follow. Nothing is said about the payload.
//   kDataLoss           magic, checksum or a length is wrong: the peer sends garbage
//   kFailedPrecondition another version, named beside ours
absl::StatusOr<FrameHeader> ReadHeader(std::span<const std::byte> frame);

// kDataLoss if the payload's checksum is there and does not match. `frame` passed ReadHeader.
absl::Status CheckPayload(const FrameHeader& header, std::span<const std::byte> frame);

inline std::span<const std::byte> PayloadOf(std::span<const std::byte> frame) {
  return frame.subspan(kFrameHeaderBytes);
}
constexpr size_t AlignSection(size_t bytes) {
  return (bytes + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
}

}  // namespace tessera::wire
