#include "common/text/text_pattern.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera {

absl::StatusOr<TextPattern> TextPattern::FromRegex(
    std::string_view regex, std::shared_ptr<const UnicodeProperties> properties) {
  TextPattern pattern;
  if (properties != nullptr) pattern.scanner_ = TextScanner::ForRegex(regex, std::move(properties));
  if (pattern.scanner_ == nullptr) {
    TESSERA_ASSIGN_OR_RETURN(pattern.regex_, Regex::Compile(regex));
  }
  return pattern;
}

absl::StatusOr<TextPattern> TextPattern::FromJson(
    const JsonValue& json, std::shared_ptr<const UnicodeProperties> properties) {
  if (const std::optional<JsonValue> regex = json.Find("Regex")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view pattern, regex->AsString());
    absl::StatusOr<TextPattern> compiled = FromRegex(pattern, std::move(properties));
    if (!compiled.ok()) return Annotate(compiled.status(), regex->Path());
    return compiled;
  }
  if (const std::optional<JsonValue> literal = json.Find("String")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view text, literal->AsString());
    return TextPattern(std::string(text));
  }
  return json.Unexpected("an object with the member String or Regex");
}

absl::Status TextPattern::FindAll(std::string_view text, RegexScratch& scratch,
                                  std::vector<TextSpan>* matches) const {
  if (scanner_ != nullptr) {
    scanner_->FindAll(text, matches);
    return absl::OkStatus();
  }
  if (regex_ != nullptr) return regex_->FindAll(text, scratch, matches);
  if (literal_.empty()) return absl::OkStatus();
  for (size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + literal_.size())) {
    matches->push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + literal_.size())});
  }
  return absl::OkStatus();
}

absl::Status TextPattern::ReplaceAll(std::string_view text, std::string_view replacement,
                                     size_t bytes_max, RegexScratch& scratch,
                                     std::string* out) const {
  std::vector<TextSpan> matches;
  TESSERA_RETURN_IF_ERROR(FindAll(text, scratch, &matches));
  if (text.size() + matches.size() * replacement.size() > bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text grows beyond ", bytes_max, " bytes when it is normalized"));
  }
  out->clear();
  size_t at = 0;
  for (const TextSpan match : matches) {
    out->append(text.substr(at, match.begin - at));
    out->append(replacement);
    at = match.end;
  }
  out->append(text.substr(at));
  return absl::OkStatus();
}

}  // namespace tessera
