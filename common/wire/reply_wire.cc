#include "common/wire/reply_wire.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace tessera::wire {

std::string_view NameOf(NackReason reason) {
  switch (reason) {
    case NackReason::kNone:
      return "none";
    case NackReason::kNotHosted:
      return "not_hosted";
    case NackReason::kWrongVersion:
      return "wrong_version";
    case NackReason::kDraining:
      return "draining";
    case NackReason::kOverloaded:
      return "overloaded";
    case NackReason::kLate:
      return "late";
    case NackReason::kCorrupt:
      return "corrupt";
    case NackReason::kRefused:
      return "refused";
    case NackReason::kFailed:
      return "failed";
  }
  return "unknown";
}

ReplyLayout LayOutReply(const FrameGeometry& geometry, size_t rows) {
  ReplyLayout layout;
  layout.rows_offset = kFrameHeaderBytes;
  layout.trailer_offset =
      AlignSection(layout.rows_offset + rows * geometry.d_model * SizeOf(geometry.dtype_down));
  layout.frame_bytes = layout.trailer_offset + sizeof(ReplyTrailer);
  return layout;
}

MutableRows ReplyRows(const FrameGeometry& geometry, size_t rows, std::span<std::byte> frame) {
  TESSERA_CHECK(frame.size() >= LayOutReply(geometry, rows).frame_bytes);
  return {frame.data() + kFrameHeaderBytes, geometry.dtype_down, rows, geometry.d_model};
}

FrameHeader WriteReply(const FrameGeometry& geometry, FrameType type, const FrameHeader& call,
                       size_t rows, const ReplyTrailer& trailer, std::span<std::byte> frame) {
  const ReplyLayout layout = LayOutReply(geometry, rows);
  TESSERA_CHECK(frame.size() >= layout.frame_bytes);
  std::memcpy(frame.data() + layout.trailer_offset, &trailer, sizeof trailer);
  FrameHeader header = call;
  header.type = type;
  header.flags &= static_cast<uint16_t>(kStrict | kHedge | kRetry);
  header.dtype = geometry.dtype_down;
  header.rows = static_cast<uint32_t>(rows);
  header.budget_us = 0;
  header.segments = 0;
  header.payload_bytes = static_cast<uint32_t>(layout.frame_bytes - kFrameHeaderBytes);
  return header;
}

absl::StatusOr<ReplyView> ReadReply(const FrameGeometry& geometry, const FrameHeader& header,
                                    std::span<const std::byte> frame) {
  TESSERA_CHECK(reinterpret_cast<uintptr_t>(frame.data()) % kFrameAlignment == 0);
  const bool has_rows = header.type == FrameType::kReply;
  if (!has_rows && header.type != FrameType::kNack && header.type != FrameType::kCredit) {
    return absl::DataLossError("an answer was expected, not another frame");
  }
  const uint32_t rows_max = geometry.strict ? geometry.pairs_max : geometry.rows_max;
  if (has_rows ? (header.rows < 1 || header.rows > rows_max) : header.rows != 0) {
    return absl::DataLossError(
        absl::StrCat("an answer has ", header.rows, " rows, expected at most ", rows_max));
  }
  if (header.dtype != geometry.dtype_down) {
    return absl::DataLossError(absl::StrCat("an answer has ", std::string(NameOf(header.dtype)),
                                            " rows, agreed were ",
                                            std::string(NameOf(geometry.dtype_down))));
  }
  const ReplyLayout layout = LayOutReply(geometry, header.rows);
  if (layout.frame_bytes != frame.size()) {
    return absl::DataLossError(
        absl::StrCat("an answer of ", frame.size(), " bytes should have ", layout.frame_bytes));
  }
  ReplyView reply;
  reply.header = header;
  reply.rows = {frame.data() + layout.rows_offset, header.dtype, header.rows, geometry.d_model};
  std::memcpy(&reply.trailer, frame.data() + layout.trailer_offset, sizeof reply.trailer);
  if (reply.trailer.reason > NackReason::kFailed ||
      (header.type == FrameType::kNack) != (reply.trailer.reason != NackReason::kNone)) {
    return absl::DataLossError(absl::StrCat("an answer with reason ",
                                            static_cast<uint32_t>(reply.trailer.reason),
                                            " does not fit its type"));
  }
  return reply;
}

}  // namespace tessera::wire
