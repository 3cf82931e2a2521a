#include "common/text/pre_tokenizer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/text/byte_level.h"
#include "common/text/normalizer.h"
#include "common/text/text_pattern.h"

namespace tessera {
namespace {

using PropertiesPtr = std::shared_ptr<const UnicodeProperties>;
using StagePtr = std::unique_ptr<const PreTokenizer>;

// The expression of ByteLevel with use_regex: GPT-2's.
constexpr std::string_view kByteLevelRegex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// The expression of Whitespace: words or what is neither word nor space. Its words are not quite
// \w.
constexpr std::string_view kWhitespaceRegex =
    R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}\x{200C}\x{200D}]+|[^\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}\x{200C}\x{200D}\s]+)";
constexpr std::string_view kMetaspaceDefault = "\u2581";

absl::Status CheckGrowth(size_t bytes) {
  if (bytes <= kTextBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the text grows beyond ", kTextBytesMax, " bytes when it is pre-tokenized"));
}

class Split : public PreTokenizer {
 public:
  Split(TextPattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  absl::Status Cut(PreTokenizeScratch& scratch, Pieces* pieces) const override {
    for (const TextSpan span : pieces->spans()) {
      scratch.matches.clear();
      TESSERA_RETURN_IF_ERROR(
          pattern_.FindAll(Slice(pieces->text(), span), scratch.regex, &scratch.matches));
      SplitAtMatches(span, behavior_, invert_, scratch, pieces);
    }
    pieces->Commit();
    return absl::OkStatus();
  }

 private:
  const TextPattern pattern_;
  const SplitBehavior behavior_;
  const bool invert_;
};

// Splits at single characters of a class.
template <bool (UnicodeProperties::*kIsMember)(char32_t) const>
class CharacterSplit : public PreTokenizer {
 public:
  CharacterSplit(SplitBehavior behavior, PropertiesPtr properties)
      : behavior_(behavior), properties_(std::move(properties)) {}

  absl::Status Cut(PreTokenizeScratch& scratch, Pieces* pieces) const override {
    for (const TextSpan span : pieces->spans()) {
      const std::string_view text = Slice(pieces->text(), span);
      scratch.matches.clear();
      for (size_t at = 0; at < text.size();) {
        const auto begin = static_cast<uint32_t>(at);
        if ((*properties_.*kIsMember)(NextCodePoint(text, &at))) {
          scratch.matches.push_back({begin, static_cast<uint32_t>(at)});
        }
      }
      SplitAtMatches(span, behavior_, /*invert=*/false, scratch, pieces);
    }
    pieces->Commit();
    return absl::OkStatus();
  }

 private:
  const SplitBehavior behavior_;
  const PropertiesPtr properties_;
};

// A space before each piece that does not begin with one.
class PrefixSpace : public PreTokenizer {
 public:
  absl::Status Cut(PreTokenizeScratch&, Pieces* pieces) const override {
    TESSERA_RETURN_IF_ERROR(CheckGrowth(pieces->text().size() + pieces->spans().size()));
    std::string& out = pieces->new_text();
    for (const TextSpan span : pieces->spans()) {
      const std::string_view text = Slice(pieces->text(), span);
      const auto begin = static_cast<uint32_t>(out.size());
      if (text.front() != ' ') out.push_back(' ');
      out.append(text);
      pieces->Append({begin, static_cast<uint32_t>(out.size())});
    }
    pieces->CommitText();
    return absl::OkStatus();
  }
};

// Each byte becomes its character of the byte-level alphabet.
class ByteAlphabet : public PreTokenizer {
 public:
  absl::Status Cut(PreTokenizeScratch&, Pieces* pieces) const override {
    TESSERA_RETURN_IF_ERROR(CheckGrowth(pieces->text().size() * 2));
    std::string& out = pieces->new_text();
    for (const TextSpan span : pieces->spans()) {
      const auto begin = static_cast<uint32_t>(out.size());
      for (const char byte : Slice(pieces->text(), span)) {
        AppendUtf8(kByteCharacters[static_cast<unsigned char>(byte)], &out);
      }
      pieces->Append({begin, static_cast<uint32_t>(out.size())});
    }
    pieces->CommitText();
    return absl::OkStatus();
  }
};

// Spaces become the replacement, which may also be put in front.
class MetaspaceAlphabet : public PreTokenizer {
 public:
  enum class Prepend : uint8_t { kAlways, kFirst, kNever };
  MetaspaceAlphabet(std::string_view replacement, Prepend prepend)
      : replacement_(replacement), prepend_(prepend) {}

  absl::Status Cut(PreTokenizeScratch&, Pieces* pieces) const override {
    TESSERA_RETURN_IF_ERROR(
        CheckGrowth((pieces->text().size() + pieces->spans().size()) * replacement_.size()));
    std::string& out = pieces->new_text();
    for (const TextSpan span : pieces->spans()) {
      const std::string_view text = Slice(pieces->text(), span);
      const auto begin = static_cast<uint32_t>(out.size());
      const bool wanted = prepend_ == Prepend::kAlways ||
                          (prepend_ == Prepend::kFirst && pieces->StartsInput(span));
      if (wanted && text.front() != ' ' && text.substr(0, replacement_.size()) != replacement_) {
        out.append(replacement_);
      }
      for (const char c : text) {
        if (c == ' ') {
          out.append(replacement_);
        } else {
          out.push_back(c);
        }
      }
      pieces->Append({begin, static_cast<uint32_t>(out.size())});
    }
    pieces->CommitText();
    return absl::OkStatus();
  }

 private:
  const std::string replacement_;
  const Prepend prepend_;
};

// Reads one stage after the other into a flat list.
class ChainParser {
 public:
  explicit ChainParser(PropertiesPtr properties) : properties_(std::move(properties)) {}

  absl::StatusOr<PreTokenizerChain> Run(const JsonValue& json) {
    TESSERA_RETURN_IF_ERROR(Parse(json, 0));
    PreTokenizerChain chain;
    chain.yields_bytes = ends_in_bytes_;
    if (ends_in_bytes_) stages_.pop_back();
    chain.stages = std::move(stages_);
    return chain;
  }

 private:
  static constexpr int kDepthMax = 16;

  void Add(StagePtr stage) {
    stages_.push_back(std::move(stage));
    ends_in_bytes_ = false;
  }

  absl::Status Parse(const JsonValue& json, int depth) {
    if (json.is_null()) return absl::OkStatus();
    if (depth > kDepthMax) return json.Unexpected("pre-tokenizers nested at most 16 deep");
    TESSERA_ASSIGN_OR_RETURN(const JsonValue type_json, json.Member("type"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view type, type_json.AsString());
    if (type == "Sequence") {
      TESSERA_ASSIGN_OR_RETURN(const JsonValue list, json.Member("pretokenizers"));
      TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, list.AsArray());
      for (const JsonValue element : elements) TESSERA_RETURN_IF_ERROR(Parse(element, depth + 1));
      return absl::OkStatus();
    }
    if (type == "Split") return ParseSplit(json);
    if (type == "Digits") return ParseDigits(json);
    if (type == "ByteLevel") return ParseByteLevel(json);
    if (type == "Metaspace") return ParseMetaspace(json);
    if (type == "Punctuation") {
      TESSERA_ASSIGN_OR_RETURN(const SplitBehavior behavior,
                               ParseBehavior(json, SplitBehavior::kIsolated));
      Add(std::make_unique<const CharacterSplit<&UnicodeProperties::IsPunctuation>>(behavior,
                                                                                    properties_));
      return absl::OkStatus();
    }
    if (type == "WhitespaceSplit") {
      Add(std::make_unique<const CharacterSplit<&UnicodeProperties::IsSpace>>(
          SplitBehavior::kRemoved, properties_));
      return absl::OkStatus();
    }
    if (type == "Whitespace") return AddRegexSplit(kWhitespaceRegex, /*invert=*/true);
    return type_json.Unexpected(
        "Split, Digits, ByteLevel, Metaspace, Punctuation, Whitespace, WhitespaceSplit or "
        "Sequence");
  }

  absl::Status AddRegexSplit(std::string_view regex, bool invert) {
    TESSERA_ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::FromRegex(regex, properties_));
    Add(std::make_unique<const Split>(
        std::move(pattern), invert ? SplitBehavior::kRemoved : SplitBehavior::kIsolated, invert));
    return absl::OkStatus();
  }

  static absl::StatusOr<bool> Flag(const JsonValue& json, std::string_view key, bool otherwise) {
    const std::optional<JsonValue> value = json.Find(key);
    if (!value.has_value()) return otherwise;
    return value->AsBool();
  }

  static absl::StatusOr<SplitBehavior> ParseBehavior(const JsonValue& json,
                                                     std::optional<SplitBehavior> otherwise) {
    if (otherwise.has_value() && !json.Find("behavior").has_value()) return *otherwise;
    TESSERA_ASSIGN_OR_RETURN(const JsonValue value, json.Member("behavior"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view name, value.AsString());
    if (name == "Removed") return SplitBehavior::kRemoved;
    if (name == "Isolated") return SplitBehavior::kIsolated;
    if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
    if (name == "Contiguous") return SplitBehavior::kContiguous;
    return value.Unexpected("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
  }

  absl::Status ParseSplit(const JsonValue& json) {
    TESSERA_ASSIGN_OR_RETURN(const JsonValue pattern_json, json.Member("pattern"));
    TESSERA_ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::FromJson(pattern_json, properties_));
    TESSERA_ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseBehavior(json, std::nullopt));
    TESSERA_ASSIGN_OR_RETURN(const bool invert, Flag(json, "invert", false));
    Add(std::make_unique<const Split>(std::move(pattern), behavior, invert));
    return absl::OkStatus();
  }

  absl::Status ParseDigits(const JsonValue& json) {
    TESSERA_ASSIGN_OR_RETURN(const bool individual, Flag(json, "individual_digits", false));
    Add(std::make_unique<const CharacterSplit<&UnicodeProperties::IsNumeric>>(
        individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, properties_));
    return absl::OkStatus();
  }

  absl::Status ParseByteLevel(const JsonValue& json) {
    TESSERA_ASSIGN_OR_RETURN(const bool prefix, Flag(json, "add_prefix_space", true));
    TESSERA_ASSIGN_OR_RETURN(const bool use_regex, Flag(json, "use_regex", true));
    if (prefix) Add(std::make_unique<const PrefixSpace>());
    if (use_regex) TESSERA_RETURN_IF_ERROR(AddRegexSplit(kByteLevelRegex, /*invert=*/false));
    Add(std::make_unique<const ByteAlphabet>());
    ends_in_bytes_ = true;
    return absl::OkStatus();
  }

  absl::Status ParseMetaspace(const JsonValue& json) {
    std::string_view replacement = kMetaspaceDefault;
    if (const std::optional<JsonValue> value = json.Find("replacement")) {
      TESSERA_ASSIGN_OR_RETURN(replacement, value->AsString());
      if (replacement.empty() || LengthOfLead(replacement.front()) != replacement.size()) {
        return value->Unexpected("one character");
      }
    }
    TESSERA_ASSIGN_OR_RETURN(const bool add_prefix, Flag(json, "add_prefix_space", true));
    auto prepend =
        add_prefix ? MetaspaceAlphabet::Prepend::kAlways : MetaspaceAlphabet::Prepend::kNever;
    if (const std::optional<JsonValue> value = json.Find("prepend_scheme")) {
      TESSERA_ASSIGN_OR_RETURN(const std::string_view scheme, value->AsString());
      if (scheme == "always") {
        prepend = MetaspaceAlphabet::Prepend::kAlways;
      } else if (scheme == "first") {
        prepend = MetaspaceAlphabet::Prepend::kFirst;
      } else if (scheme == "never") {
        prepend = MetaspaceAlphabet::Prepend::kNever;
      } else {
        return value->Unexpected("always, first or never");
      }
    }
    TESSERA_ASSIGN_OR_RETURN(const bool split, Flag(json, "split", true));
    Add(std::make_unique<const MetaspaceAlphabet>(replacement, prepend));
    if (split) {
      Add(std::make_unique<const Split>(TextPattern(std::string(replacement)),
                                        SplitBehavior::kMergedWithNext, /*invert=*/false));
    }
    return absl::OkStatus();
  }

  const PropertiesPtr properties_;
  std::vector<StagePtr> stages_;
  bool ends_in_bytes_ = false;
};

// All parts of a piece: the matches and what lies between.
void ListParts(TextSpan span, bool invert, PreTokenizeScratch& scratch) {
  scratch.parts.clear();
  uint32_t at = span.begin;
  for (const TextSpan match : scratch.matches) {
    const TextSpan here = {span.begin + match.begin, span.begin + match.end};
    if (here.begin > at) scratch.parts.push_back({{at, here.begin}, invert});
    scratch.parts.push_back({here, !invert});
    at = here.end;
  }
  if (at < span.end) scratch.parts.push_back({{at, span.end}, invert});
}

// Joins a part to the one before it in `pieces`-order when `join(part is match, previous was
// match)`.
template <typename Join>
void AppendJoined(const std::vector<std::pair<TextSpan, bool>>& parts, const Join& join,
                  Pieces* pieces) {
  bool previous = false;
  bool is_first = true;
  TextSpan open;
  for (const auto& [part, is_match] : parts) {
    if (!is_first && join(is_match, previous)) {
      open.end = part.end;
    } else {
      if (!is_first) pieces->Append(open);
      open = part;
    }
    is_first = false;
    previous = is_match;
  }
  if (!is_first) pieces->Append(open);
}

}  // namespace

void SplitAtMatches(TextSpan span, SplitBehavior behavior, bool invert, PreTokenizeScratch& scratch,
                    Pieces* pieces) {
  if (scratch.matches.empty() && !(invert && behavior == SplitBehavior::kRemoved)) {
    pieces->Append(span);
    return;
  }
  if (behavior == SplitBehavior::kIsolated) {  // the usual one, without the detour over a list
    uint32_t at = span.begin;
    for (const TextSpan match : scratch.matches) {
      pieces->Append({at, span.begin + match.begin});
      at = span.begin + match.end;
      pieces->Append({span.begin + match.begin, at});
    }
    pieces->Append({at, span.end});
    return;
  }
  ListParts(span, invert, scratch);
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return;
    case SplitBehavior::kRemoved:
      for (const auto& [part, is_match] : scratch.parts) {
        if (!is_match) pieces->Append(part);
      }
      return;
    case SplitBehavior::kContiguous:
      AppendJoined(
          scratch.parts, [](bool now, bool before) { return now == before; }, pieces);
      return;
    case SplitBehavior::kMergedWithPrevious:
      AppendJoined(
          scratch.parts, [](bool now, bool before) { return now && !before; }, pieces);
      return;
    case SplitBehavior::kMergedWithNext:
      // Seen from the end, a match joins the part behind it unless that is a match too: of a run of
      // matches only the last one joins.
      AppendJoined(
          scratch.parts, [](bool now, bool before) { return before && !now; }, pieces);
      return;
  }
}

absl::StatusOr<PreTokenizerChain> ParsePreTokenizer(const JsonValue& json,
                                                    PropertiesPtr properties) {
  return ChainParser(std::move(properties)).Run(json);
}

}  // namespace tessera
