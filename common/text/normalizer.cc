#include "common/text/normalizer.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/text/normal_forms.h"
#include "common/text/text_pattern.h"
#include "common/text/unicode.h"

namespace tessera {
namespace {

constexpr int kDepthMax = 16;

using NormalizerPtr = std::unique_ptr<const Normalizer>;

class Form : public Normalizer {
 public:
  explicit Form(NormalForm form) : form_(form) {}
  absl::Status Normalize(RegexScratch&, std::string* text) const override {
    std::string out;
    form_.Apply(*text, &out);
    text->swap(out);
    return absl::OkStatus();
  }

 private:
  const FormNormalizer form_;
};

class Lowercase : public Normalizer {
 public:
  absl::Status Normalize(RegexScratch&, std::string* text) const override {
    std::string out;
    map_.Apply(*text, &out);
    text->swap(out);
    return absl::OkStatus();
  }

 private:
  const LowercaseMap map_;
};

class StripAccents : public Normalizer {
 public:
  absl::Status Normalize(RegexScratch&, std::string* text) const override {
    std::string out;
    marks_.Remove(*text, &out);
    text->swap(out);
    return absl::OkStatus();
  }

 private:
  const MarkSet marks_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string_view text) : prefix_(text) {}
  absl::Status Normalize(RegexScratch&, std::string* text) const override {
    if (!text->empty()) text->insert(0, prefix_);
    return absl::OkStatus();
  }

 private:
  const std::string prefix_;
};

class Replace : public Normalizer {
 public:
  Replace(TextPattern pattern, std::string_view content)
      : pattern_(std::move(pattern)), content_(content) {}
  absl::Status Normalize(RegexScratch& scratch, std::string* text) const override {
    std::string out;
    TESSERA_RETURN_IF_ERROR(pattern_.ReplaceAll(*text, content_, kTextBytesMax, scratch, &out));
    text->swap(out);
    return absl::OkStatus();
  }

 private:
  const TextPattern pattern_;
  const std::string content_;
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  absl::Status Normalize(RegexScratch&, std::string* text) const override {
    size_t begin = 0;
    while (left_ && begin < text->size()) {
      size_t next = begin;
      if (!properties_.IsSpace(NextCodePoint(*text, &next))) break;
      begin = next;
    }
    size_t end = text->size();
    while (right_ && end > begin) {
      const size_t start = PreviousStart(*text, end);
      size_t at = start;
      if (!properties_.IsSpace(NextCodePoint(*text, &at))) break;
      end = start;
    }
    *text = text->substr(begin, end - begin);
    return absl::OkStatus();
  }

 private:
  const bool left_;
  const bool right_;
  const UnicodeProperties properties_;
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<NormalizerPtr> parts) : parts_(std::move(parts)) {}
  absl::Status Normalize(RegexScratch& scratch, std::string* text) const override {
    for (const NormalizerPtr& part : parts_) {
      TESSERA_RETURN_IF_ERROR(part->Normalize(scratch, text));
    }
    return absl::OkStatus();
  }

 private:
  const std::vector<NormalizerPtr> parts_;
};

absl::StatusOr<NormalizerPtr> Parse(const JsonValue& json, int depth);

absl::StatusOr<NormalizerPtr> ParseSequence(const JsonValue& json, int depth) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue list, json.Member("normalizers"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, list.AsArray());
  std::vector<NormalizerPtr> parts;
  for (const JsonValue element : elements) {
    TESSERA_ASSIGN_OR_RETURN(NormalizerPtr part, Parse(element, depth + 1));
    if (part != nullptr) parts.push_back(std::move(part));
  }
  if (parts.empty()) return NormalizerPtr();
  return std::make_unique<const Sequence>(std::move(parts));
}

absl::StatusOr<NormalizerPtr> ParseReplace(const JsonValue& json) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue pattern_json, json.Member("pattern"));
  TESSERA_ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::FromJson(pattern_json));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue content_json, json.Member("content"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view content, content_json.AsString());
  return std::make_unique<const Replace>(std::move(pattern), content);
}

absl::StatusOr<NormalizerPtr> ParseStrip(const JsonValue& json) {
  bool sides[2] = {true, true};
  constexpr std::string_view kNames[2] = {"strip_left", "strip_right"};
  for (size_t i = 0; i < 2; ++i) {
    const std::optional<JsonValue> side = json.Find(kNames[i]);
    if (!side.has_value()) continue;
    TESSERA_ASSIGN_OR_RETURN(sides[i], side->AsBool());
  }
  return std::make_unique<const Strip>(sides[0], sides[1]);
}

absl::StatusOr<NormalizerPtr> Parse(const JsonValue& json, int depth) {
  if (json.is_null()) return NormalizerPtr();
  if (depth > kDepthMax) return json.Unexpected("normalizers nested at most 16 deep");
  TESSERA_ASSIGN_OR_RETURN(const JsonValue type_json, json.Member("type"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view type, type_json.AsString());
  if (type == "Sequence") return ParseSequence(json, depth);
  if (type == "Replace") return ParseReplace(json);
  if (type == "Strip") return ParseStrip(json);
  if (type == "Lowercase") return std::make_unique<const Lowercase>();
  if (type == "StripAccents") return std::make_unique<const StripAccents>();
  if (type == "Prepend") {
    TESSERA_ASSIGN_OR_RETURN(const JsonValue prefix_json, json.Member("prepend"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view prefix, prefix_json.AsString());
    return std::make_unique<const Prepend>(prefix);
  }
  constexpr std::pair<std::string_view, NormalForm> kForms[] = {{"NFC", NormalForm::kNfc},
                                                                {"NFD", NormalForm::kNfd},
                                                                {"NFKC", NormalForm::kNfkc},
                                                                {"NFKD", NormalForm::kNfkd}};
  for (const auto& [name, form] : kForms) {
    if (type == name) return std::make_unique<const Form>(form);
  }
  return type_json.Unexpected(
      "NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, StripAccents or Sequence");
}

}  // namespace

absl::StatusOr<NormalizerPtr> Normalizer::FromJson(const JsonValue& json) { return Parse(json, 0); }

}  // namespace tessera
