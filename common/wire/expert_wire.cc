#include "common/wire/expert_wire.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/wire/call_wire.h"
#include "common/wire/crc32c.h"
#include "common/wire/reply_wire.h"

namespace tessera::wire {

// Views show received numbers as they lie.
static_assert(std::endian::native == std::endian::little, "frames are little-endian in place");

namespace {

constexpr size_t kHeaderCrcOffset = 56;
constexpr size_t kPayloadCrcOffset = 60;

template <typename T>
void Put(std::span<std::byte> out, size_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof value);
}
template <typename T>
T Take(std::span<const std::byte> in, size_t offset) {
  T value;
  std::memcpy(&value, in.data() + offset, sizeof value);
  return value;
}

uint32_t HeaderCrc(std::span<const std::byte> frame) {
  constexpr std::byte kZeros[4] = {};
  const uint32_t crc = Crc32c(kZeros, Crc32c(frame.first(kHeaderCrcOffset)));
  return Crc32c(frame.subspan(kPayloadCrcOffset, 4), crc);
}

bool IsFrameType(uint8_t type) {
  return type >= static_cast<uint8_t>(FrameType::kCall) &&
         type <= static_cast<uint8_t>(FrameType::kDrain);
}
bool IsRowDType(uint8_t dtype) {
  return dtype == static_cast<uint8_t>(RowDType::kF32) ||
         dtype == static_cast<uint8_t>(RowDType::kBF16);
}

FrameHeader TakeHeader(std::span<const std::byte> frame) {
  FrameHeader header;
  header.type = static_cast<FrameType>(Take<uint8_t>(frame, 5));
  header.flags = Take<uint16_t>(frame, 6);
  header.session = Take<uint32_t>(frame, 8);
  header.layer = Take<uint16_t>(frame, 12);
  header.micro_batch = Take<uint8_t>(frame, 14);
  header.dtype = static_cast<RowDType>(Take<uint8_t>(frame, 15));
  header.call_id = Take<uint64_t>(frame, 16);
  header.epoch = Epoch{Take<uint64_t>(frame, 24)};
  header.rows = Take<uint32_t>(frame, 32);
  header.pairs = Take<uint32_t>(frame, 36);
  header.budget_us = Take<uint32_t>(frame, 40);
  header.slot = Take<uint16_t>(frame, 44);
  header.generation = Take<uint16_t>(frame, 46);
  header.attempt = Take<uint8_t>(frame, 48);
  header.priority = Take<uint8_t>(frame, 49);
  header.segments = Take<uint16_t>(frame, 50);
  header.payload_bytes = Take<uint32_t>(frame, 52);
  header.payload_crc = Take<uint32_t>(frame, kPayloadCrcOffset);
  return header;
}

void PutHeader(const FrameHeader& header, std::span<std::byte> frame) {
  Put(frame, 0, kFrameMagic);
  Put(frame, 4, kFrameVersion);
  Put(frame, 5, static_cast<uint8_t>(header.type));
  Put(frame, 6, header.flags);
  Put(frame, 8, header.session);
  Put(frame, 12, header.layer);
  Put(frame, 14, header.micro_batch);
  Put(frame, 15, static_cast<uint8_t>(header.dtype));
  Put(frame, 16, header.call_id);
  Put(frame, 24, static_cast<uint64_t>(header.epoch));
  Put(frame, 32, header.rows);
  Put(frame, 36, header.pairs);
  Put(frame, 40, header.budget_us);
  Put(frame, 44, header.slot);
  Put(frame, 46, header.generation);
  Put(frame, 48, header.attempt);
  Put(frame, 49, header.priority);
  Put(frame, 50, header.segments);
  Put(frame, 52, header.payload_bytes);
  Put(frame, kPayloadCrcOffset, header.payload_crc);
  Put(frame, kHeaderCrcOffset, HeaderCrc(frame));
}

}  // namespace

size_t SizeOf(RowDType dtype) { return dtype == RowDType::kBF16 ? 2 : 4; }

std::string_view NameOf(RowDType dtype) { return dtype == RowDType::kBF16 ? "bf16" : "f32"; }

absl::Status CheckGeometry(const FrameGeometry& g) {
  const auto in_range = [](std::string_view name, uint64_t value, uint64_t max) {
    if (value >= 1 && value <= max) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(name), " is ", value, ", expected 1..", max));
  };
  TESSERA_RETURN_IF_ERROR(in_range("d_model", g.d_model, 65536));
  TESSERA_RETURN_IF_ERROR(in_range("layer_count", g.layer_count, 65536));
  TESSERA_RETURN_IF_ERROR(in_range("expert_count", g.expert_count, 65535));
  TESSERA_RETURN_IF_ERROR(in_range("rows_max", g.rows_max, 65536));
  TESSERA_RETURN_IF_ERROR(in_range("pairs_max", g.pairs_max, uint64_t{g.rows_max} * 256));
  // Lengths are 32 bits wide.
  TESSERA_RETURN_IF_ERROR(in_range("largest call in bytes", CallBytesMax(g), 0xffffffffu));
  return in_range("largest reply in bytes", ReplyBytesMax(g), 0xffffffffu);
}

size_t CallBytesMax(const FrameGeometry& g) {
  const size_t segments = g.pairs_max < g.expert_count ? g.pairs_max : g.expert_count;
  return LayOutCall(g, {g.rows_max, segments, g.pairs_max, /*traced=*/true}).frame_bytes;
}

size_t ReplyBytesMax(const FrameGeometry& g) {
  return LayOutReply(g, g.strict ? g.pairs_max : g.rows_max).frame_bytes;
}

std::span<const std::byte> SealFrame(FrameHeader header, bool checksum_payload,
                                     std::span<std::byte> frame) {
  TESSERA_CHECK(frame.size() >= kFrameHeaderBytes + header.payload_bytes);
  header.flags &= static_cast<uint16_t>(~kPayloadChecksum);
  header.payload_crc = 0;
  if (checksum_payload) {
    header.flags |= kPayloadChecksum;
    header.payload_crc = Crc32c(frame.subspan(kFrameHeaderBytes, header.payload_bytes));
  }
  PutHeader(header, frame);
  return frame.first(kFrameHeaderBytes + header.payload_bytes);
}

absl::StatusOr<FrameHeader> ReadHeader(std::span<const std::byte> frame) {
  if (frame.size() < kFrameHeaderBytes) {
    return absl::DataLossError(
        absl::StrCat("a frame of ", frame.size(), " bytes has no whole header of 64"));
  }
  if (Take<uint32_t>(frame, 0) != kFrameMagic) {
    return absl::DataLossError(absl::StrCat("a frame begins with 0x",
                                            absl::Hex(Take<uint32_t>(frame, 0)), ", not with 0x",
                                            absl::Hex(kFrameMagic)));
  }
  if (const uint8_t version = Take<uint8_t>(frame, 4); version != kFrameVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the peer speaks frame version ", version, ", this end ", kFrameVersion));
  }
  if (Take<uint32_t>(frame, kHeaderCrcOffset) != HeaderCrc(frame)) {
    return absl::DataLossError("the checksum of a frame header does not match");
  }
  const uint8_t type = Take<uint8_t>(frame, 5);
  const uint8_t dtype = Take<uint8_t>(frame, 15);
  if (!IsFrameType(type) || !IsRowDType(dtype)) {
    return absl::DataLossError(
        absl::StrCat("a frame of unknown type ", type, " or row dtype ", dtype));
  }
  const FrameHeader header = TakeHeader(frame);
  if (header.payload_bytes != frame.size() - kFrameHeaderBytes) {
    return absl::DataLossError(absl::StrCat("a frame announces ", header.payload_bytes,
                                            " payload bytes and has ",
                                            frame.size() - kFrameHeaderBytes));
  }
  return header;
}

absl::Status CheckPayload(const FrameHeader& header, std::span<const std::byte> frame) {
  if (!header.has(kPayloadChecksum) || Crc32c(PayloadOf(frame)) == header.payload_crc) {
    return absl::OkStatus();
  }
  return absl::DataLossError("the checksum of a frame's payload does not match");
}

}  // namespace tessera::wire
