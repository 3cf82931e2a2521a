#include "common/wire/model_identity_wire.h"

#include <span>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/wire/crc32c.h"
#include "tessera/v1/cluster.pb.h"

namespace tessera::wire {
namespace {

constexpr uint32_t kCountMax = 65536;  // of what a frame counts in 16 bits and d_model

absl::Status CheckCount(const char* name, uint32_t value, uint32_t max) {
  if (value > 0 && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model: ", name, " is ", value, ", expected 1..", max));
}

template <typename T>
absl::Status CompareField(const char* name, const T& ours, const T& theirs) {
  if (ours == theirs) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("models differ in ", name, ": ", ours, " here, ", theirs, " there"));
}

}  // namespace

absl::StatusOr<ModelIdentity> ToModelIdentity(const v1::ModelIdentity& message) {
  TESSERA_RETURN_IF_ERROR(ToModelHash(message.model_hash()).status());
  TESSERA_RETURN_IF_ERROR(CheckCount("d_model", message.d_model(), kCountMax));
  TESSERA_RETURN_IF_ERROR(CheckCount("layer_count", message.layer_count(), kCountMax));
  TESSERA_RETURN_IF_ERROR(CheckCount("expert_count", message.expert_count(), kCountMax - 1));
  TESSERA_RETURN_IF_ERROR(CheckCount("expert_width", message.expert_width(), 1u << 24));
  TESSERA_RETURN_IF_ERROR(CheckCount("top_k", message.top_k(), message.expert_count()));
  return ModelIdentity{.model_hash = absl::AsciiStrToLower(message.model_hash()),
                       .d_model = message.d_model(),
                       .layer_count = message.layer_count(),
                       .expert_count = message.expert_count(),
                       .expert_width = message.expert_width(),
                       .top_k = message.top_k(),
                       .expert_dtype = message.expert_dtype(),
                       .kernel_level = message.kernel_level()};
}

void ToProto(const ModelIdentity& model, v1::ModelIdentity& message) {
  message.set_model_hash(model.model_hash);
  message.set_d_model(model.d_model);
  message.set_layer_count(model.layer_count);
  message.set_expert_count(model.expert_count);
  message.set_expert_width(model.expert_width);
  message.set_top_k(model.top_k);
  message.set_expert_dtype(model.expert_dtype);
  message.set_kernel_level(model.kernel_level);
}

absl::Status CompareModels(const ModelIdentity& ours, const ModelIdentity& theirs, bool strict) {
  TESSERA_RETURN_IF_ERROR(CompareField("model_hash", ours.model_hash, theirs.model_hash));
  TESSERA_RETURN_IF_ERROR(CompareField("d_model", ours.d_model, theirs.d_model));
  TESSERA_RETURN_IF_ERROR(CompareField("layer_count", ours.layer_count, theirs.layer_count));
  TESSERA_RETURN_IF_ERROR(CompareField("expert_count", ours.expert_count, theirs.expert_count));
  TESSERA_RETURN_IF_ERROR(CompareField("expert_width", ours.expert_width, theirs.expert_width));
  TESSERA_RETURN_IF_ERROR(CompareField("top_k", ours.top_k, theirs.top_k));
  if (!ours.expert_dtype.empty()) {
    TESSERA_RETURN_IF_ERROR(CompareField("expert_dtype", ours.expert_dtype, theirs.expert_dtype));
  }
  if (!strict) return absl::OkStatus();
  return CompareField("kernel_level (strict mode)", ours.kernel_level, theirs.kernel_level);
}

std::string HashText(uint64_t model_identity) { return absl::StrFormat("%016x", model_identity); }

absl::StatusOr<ModelHash> ToModelHash(std::string_view hex) {
  ModelHash hash{};
  bool good = hex.size() >= 2 && hex.size() <= 2 * hash.size() && hex.size() % 2 == 0;
  for (const char c : hex) good = good && absl::ascii_isxdigit(static_cast<unsigned char>(c));
  if (!good) {
    return absl::InvalidArgumentError(absl::StrCat("model: model_hash is \"",
                                                   absl::CHexEscape(std::string(hex.substr(0, 80))),
                                                   "\", expected 2..64 hex digits"));
  }
  const std::string bytes = absl::HexStringToBytes(std::string(hex));
  for (size_t i = 0; i < bytes.size(); ++i) hash[i] = static_cast<uint8_t>(bytes[i]);
  return hash;
}

uint32_t KernelLevelNumber(std::string_view name) {
  return Crc32c(std::as_bytes(std::span(name.data(), name.size())));
}

}  // namespace tessera::wire
