#include "common/wire/hello_wire.h"

#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"

namespace tessera::wire {
namespace {

// The payload as it travels.
struct Greeting {
  uint64_t incarnation;
  SessionToken token;
  ModelHash model_hash;
  uint32_t d_model;
  uint32_t layer_count;
  uint32_t expert_count;
  uint32_t rows_max;
  uint32_t pairs_max;
  uint32_t credits;
  uint32_t kernel_level;
  uint8_t dtype_up;
  uint8_t dtype_down;
  uint8_t strict;
  uint8_t checksum_payload;
  uint64_t reserved[5];
};
static_assert(sizeof(Greeting) == 128 && kHelloFrameBytes == kFrameHeaderBytes + sizeof(Greeting));

bool IsRowDType(uint8_t dtype) {
  return dtype == static_cast<uint8_t>(RowDType::kF32) ||
         dtype == static_cast<uint8_t>(RowDType::kBF16);
}

absl::Status Differ(std::string_view what, std::string_view ours, std::string_view theirs) {
  return absl::FailedPreconditionError(absl::StrCat(
      std::string(what), " differs: here ", std::string(ours), ", there ", std::string(theirs)));
}

std::string Hex(const ModelHash& hash) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

}  // namespace

std::span<const std::byte> WriteHello(const Hello& hello, bool answer, std::span<std::byte> frame) {
  TESSERA_CHECK(frame.size() >= kHelloFrameBytes);
  const FrameGeometry& g = hello.geometry;
  const Greeting greeting{hello.incarnation,
                          hello.token,
                          hello.model_hash,
                          g.d_model,
                          g.layer_count,
                          g.expert_count,
                          g.rows_max,
                          g.pairs_max,
                          hello.credits,
                          hello.kernel_level,
                          static_cast<uint8_t>(g.dtype_up),
                          static_cast<uint8_t>(g.dtype_down),
                          g.strict,
                          hello.checksum_payload,
                          {}};
  std::memcpy(frame.data() + kFrameHeaderBytes, &greeting, sizeof greeting);
  FrameHeader header;
  header.type = FrameType::kHello;
  header.flags = answer ? kAnswer : 0;
  header.session = hello.session;
  header.payload_bytes = sizeof greeting;
  return SealFrame(header, /*checksum_payload=*/true, frame);
}

absl::StatusOr<Hello> ReadHello(const FrameHeader& header, std::span<const std::byte> frame) {
  if (header.type != FrameType::kHello || frame.size() != kHelloFrameBytes) {
    return absl::DataLossError(absl::StrCat("a greeting was expected, not a frame of type ",
                                            static_cast<int>(header.type), " with ", frame.size(),
                                            " bytes"));
  }
  if (!header.has(kPayloadChecksum)) {
    return absl::DataLossError("a greeting without a checksum");
  }
  Greeting greeting;
  std::memcpy(&greeting, PayloadOf(frame).data(), sizeof greeting);
  if (!IsRowDType(greeting.dtype_up) || !IsRowDType(greeting.dtype_down)) {
    return absl::DataLossError(absl::StrCat("a greeting names unknown row dtypes ",
                                            greeting.dtype_up, " and ", greeting.dtype_down));
  }
  Hello hello;
  hello.session = header.session;
  hello.incarnation = greeting.incarnation;
  hello.token = greeting.token;
  hello.model_hash = greeting.model_hash;
  hello.geometry = {greeting.d_model,
                    greeting.layer_count,
                    greeting.expert_count,
                    greeting.rows_max,
                    greeting.pairs_max,
                    static_cast<RowDType>(greeting.dtype_up),
                    static_cast<RowDType>(greeting.dtype_down),
                    greeting.strict != 0};
  hello.credits = greeting.credits;
  hello.kernel_level = greeting.kernel_level;
  hello.checksum_payload = greeting.checksum_payload != 0;
  if (const absl::Status valid = CheckGeometry(hello.geometry); !valid.ok()) {
    return absl::DataLossError(absl::StrCat("a greeting is impossible: ", valid.message()));
  }
  if (hello.session == 0 || hello.credits < 1 || hello.credits > kCreditsMax) {
    return absl::DataLossError(absl::StrCat("a greeting has session ", hello.session, " and ",
                                            hello.credits, " credits, expected > 0 and 1..",
                                            kCreditsMax));
  }
  return hello;
}

absl::Status CompareHello(const Hello& ours, const Hello& theirs) {
  if (ours.model_hash != theirs.model_hash) {
    return Differ("model hash", Hex(ours.model_hash), Hex(theirs.model_hash));
  }
  const FrameGeometry& a = ours.geometry;
  const FrameGeometry& b = theirs.geometry;
  const auto number = [](std::string_view what, uint64_t x, uint64_t y) {
    return x == y ? absl::OkStatus() : Differ(what, absl::StrCat(x), absl::StrCat(y));
  };
  TESSERA_RETURN_IF_ERROR(number("d_model", a.d_model, b.d_model));
  TESSERA_RETURN_IF_ERROR(number("layer_count", a.layer_count, b.layer_count));
  TESSERA_RETURN_IF_ERROR(number("expert_count", a.expert_count, b.expert_count));
  TESSERA_RETURN_IF_ERROR(number("rows_max", a.rows_max, b.rows_max));
  TESSERA_RETURN_IF_ERROR(number("pairs_max", a.pairs_max, b.pairs_max));
  if (a.dtype_up != b.dtype_up) {
    return Differ("row dtype up", NameOf(a.dtype_up), NameOf(b.dtype_up));
  }
  if (a.dtype_down != b.dtype_down) {
    return Differ("row dtype down", NameOf(a.dtype_down), NameOf(b.dtype_down));
  }
  TESSERA_RETURN_IF_ERROR(number("strict", a.strict, b.strict));
  if (a.strict) {
    TESSERA_RETURN_IF_ERROR(number("kernel level", ours.kernel_level, theirs.kernel_level));
  }
  return absl::OkStatus();
}

bool SameToken(const SessionToken& a, const SessionToken& b) {
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<uint8_t>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace tessera::wire
