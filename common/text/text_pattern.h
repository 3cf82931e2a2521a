#pragma once

// What Split and Replace look for in a text: a literal string or a regular expression.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/json/json.h"
#include "common/text/regex.h"
#include "common/text/text_scanner.h"
#include "common/text/text_span.h"
#include "common/text/unicode.h"

namespace tessera {

// Immutable, thread-safe.
class TextPattern {
 public:
  // {"String": ...} or {"Regex": ...}. With `properties` a well-known expression gets its own
  // scanner. Errors: kInvalidArgument with the path in the file.
  static absl::StatusOr<TextPattern> FromJson(
      const JsonValue& json, std::shared_ptr<const UnicodeProperties> properties = nullptr);
  static absl::StatusOr<TextPattern> FromRegex(std::string_view regex,
                                               std::shared_ptr<const UnicodeProperties> properties);
  explicit TextPattern(std::string literal) : literal_(std::move(literal)) {}

  // As Regex::FindAll.
  absl::Status FindAll(std::string_view text, RegexScratch& scratch,
                       std::vector<TextSpan>* matches) const;

  // `text` with every match replaced. kInvalidArgument also if the result would be over
  // `bytes_max`.
  absl::Status ReplaceAll(std::string_view text, std::string_view replacement, size_t bytes_max,
                          RegexScratch& scratch, std::string* out) const;

 private:
  TextPattern() = default;

  std::string literal_;
  std::unique_ptr<const Regex> regex_;          // either this,
  std::unique_ptr<const TextScanner> scanner_;  // or this, or both null: the literal
};

}  // namespace tessera
