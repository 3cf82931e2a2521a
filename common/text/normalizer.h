#pragma once

// The "normalizer" of a tokenizer file: rewrites text before it is cut into pieces.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/json/json.h"
#include "common/text/regex.h"

namespace tessera {

// No text grows beyond this while it is encoded; nor is longer text accepted.
constexpr size_t kTextBytesMax = size_t{256} << 20;

// Immutable, thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;

  // Rewrites `text` (well-formed UTF-8) in place.
  // Errors: kInvalidArgument, the text grows beyond kTextBytesMax or a pattern's limits.
  virtual absl::Status Normalize(RegexScratch& scratch, std::string* text) const = 0;

  // NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, StripAccents, Sequence; null for the
  // identity (JSON null, an empty Sequence). Errors: kInvalidArgument with the path: another type,
  // a missing or wrong member.
  static absl::StatusOr<std::unique_ptr<const Normalizer>> FromJson(const JsonValue& json);
};

}  // namespace tessera
