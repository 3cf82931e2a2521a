#include "common/text/decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/text/byte_level.h"
#include "common/text/normalizer.h"
#include "common/text/text_pattern.h"

namespace tessera {

// Makes the running part of a stage, which pushes to `next`.
class Decoder::Stage {
 public:
  virtual ~Stage() = default;
  virtual std::unique_ptr<DecodeSink> Start(DecodeSink& next) const = 0;
};

namespace {

constexpr int kDepthMax = 16;

// A stage whose running part is a `Running(const Stage&, DecodeSink& next)`.
template <typename Settings, typename Running>
class StageOf : public Decoder::Stage {
 public:
  explicit StageOf(Settings settings) : settings_(std::move(settings)) {}
  std::unique_ptr<DecodeSink> Start(DecodeSink& next) const override {
    return std::make_unique<Running>(settings_, next);
  }

 private:
  const Settings settings_;
};

struct NoSettings {};

// Joins pieces by a space, as without any decoder.
class JoinBySpace : public DecodeSink {
 public:
  JoinBySpace(const NoSettings&, DecodeSink& next) : next_(next) {}
  void Push(std::string_view text) override {
    if (!is_first_) next_.Push(" ");
    is_first_ = false;
    next_.Push(text);
  }
  void Flush() override {
    is_first_ = true;
    next_.Flush();
  }

 private:
  DecodeSink& next_;
  bool is_first_ = true;
};

class ByteLevel : public DecodeSink {
 public:
  ByteLevel(const NoSettings&, DecodeSink& next) : next_(next) {}
  void Push(std::string_view text) override {
    if (const std::optional<std::string> bytes = FromByteLevel(text)) {
      held_ += *bytes;
    } else {
      held_ += text;  // an added token with characters of its own
    }
    Release(/*final=*/false);
  }
  void Flush() override {
    Release(/*final=*/true);
    next_.Flush();
  }

 private:
  void Release(bool final) {
    std::string text;
    held_.erase(0, AppendLossy(held_, final, &text));
    if (!text.empty()) next_.Push(text);
  }

  DecodeSink& next_;
  std::string held_;  // between calls: the front of one character
};

// Runs of <0x..> become characters, or one U+FFFD a byte if the run as a whole is not well-formed.
class ByteFallback : public DecodeSink {
 public:
  ByteFallback(const NoSettings&, DecodeSink& next) : next_(next) {}
  void Push(std::string_view text) override {
    if (const std::optional<char> byte = ByteOf(text)) {
      run_.push_back(*byte);
      return;
    }
    EndRun();
    next_.Push(text);
  }
  void Flush() override {
    EndRun();
    next_.Flush();
  }

 private:
  static std::optional<char> ByteOf(std::string_view text) {
    if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return std::nullopt;
    const auto digit = [](char c) {
      if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return -1;
      return absl::ascii_isdigit(static_cast<unsigned char>(c)) ? c - '0'
                                                                : absl::ascii_tolower(c) - 'a' + 10;
    };
    const int high = digit(text[3]);
    const int low = digit(text[4]);
    if (high < 0 || low < 0) return std::nullopt;
    return static_cast<char>(high * 16 + low);
  }
  void EndRun() {
    if (run_.empty()) return;
    if (FindInvalidUtf8(run_) == std::string_view::npos) {
      next_.Push(run_);
    } else {
      const std::string replacement = ToUtf8(kReplacementCharacter);
      for (size_t i = 0; i < run_.size(); ++i) next_.Push(replacement);
    }
    run_.clear();
  }

  DecodeSink& next_;
  std::string run_;
};

struct ReplaceSettings {
  TextPattern pattern;
  std::string content;
};

class Replace : public DecodeSink {
 public:
  Replace(const ReplaceSettings& settings, DecodeSink& next) : settings_(settings), next_(next) {}
  void Push(std::string_view text) override {
    std::string replaced;
    const absl::Status status =
        settings_.pattern.ReplaceAll(text, settings_.content, kTextBytesMax, scratch_, &replaced);
    next_.Push(status.ok() ? std::string_view(replaced) : text);
  }
  void Flush() override { next_.Flush(); }

 private:
  const ReplaceSettings& settings_;
  DecodeSink& next_;
  RegexScratch scratch_;
};

struct MetaspaceSettings {
  std::string replacement;
  bool drops_first = true;  // in the first piece the replacement vanishes
};

class Metaspace : public DecodeSink {
 public:
  Metaspace(const MetaspaceSettings& settings, DecodeSink& next)
      : settings_(settings), next_(next) {}
  void Push(std::string_view text) override {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const std::string_view c = text.substr(at, LengthOfLead(text[at]));
      at += c.size();
      if (c != settings_.replacement) {
        out += c;
      } else if (!is_first_ || !settings_.drops_first) {
        out += ' ';
      }
    }
    is_first_ = false;
    next_.Push(out);
  }
  void Flush() override {
    is_first_ = true;
    next_.Flush();
  }

 private:
  const MetaspaceSettings& settings_;
  DecodeSink& next_;
  bool is_first_ = true;
};

struct StripSettings {
  std::string content;  // one character
  size_t start = 0;
  size_t stop = 0;
  bool is_fused = false;  // the text is one token in fragments
};

// Takes up to `start` of a character from the front and up to `stop` from the end, of each token or
// of all.
class Strip : public DecodeSink {
 public:
  Strip(const StripSettings& settings, DecodeSink& next)
      : settings_(settings), next_(next), left_at_front_(settings.start) {}
  void Push(std::string_view text) override {
    const std::string_view content = settings_.content;
    while (left_at_front_ > 0 && text.substr(0, content.size()) == content) {
      text.remove_prefix(content.size());
      --left_at_front_;
    }
    if (!text.empty()) left_at_front_ = 0;
    // Held back: as many of the character as may still be cut from the end.
    held_ += text;
    size_t tail = 0;
    while (tail < settings_.stop && held_.size() >= (tail + 1) * content.size() &&
           std::string_view(held_).substr(held_.size() - (tail + 1) * content.size(),
                                          content.size()) == content) {
      ++tail;
    }
    const size_t settled = held_.size() - tail * content.size();
    if (settled > 0 || !settings_.is_fused) next_.Push(std::string_view(held_).substr(0, settled));
    held_.erase(0, settled);
    if (!settings_.is_fused) Restart();
  }
  void Flush() override {
    Restart();
    next_.Flush();
  }

 private:
  void Restart() {
    held_.clear();
    left_at_front_ = settings_.start;
  }

  const StripSettings& settings_;
  DecodeSink& next_;
  size_t left_at_front_;
  std::string held_;
};

class ChainParser {
 public:
  using Stages = std::vector<std::unique_ptr<const Decoder::Stage>>;

  absl::Status Parse(const JsonValue& json, int depth) {
    if (depth > kDepthMax) return json.Unexpected("decoders nested at most 16 deep");
    TESSERA_ASSIGN_OR_RETURN(const JsonValue type_json, json.Member("type"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view type, type_json.AsString());
    if (type == "Sequence") {
      TESSERA_ASSIGN_OR_RETURN(const JsonValue list, json.Member("decoders"));
      TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, list.AsArray());
      for (const JsonValue element : elements) TESSERA_RETURN_IF_ERROR(Parse(element, depth + 1));
      return absl::OkStatus();
    }
    if (type == "Fuse") {
      is_fused_ = true;
      return absl::OkStatus();
    }
    if (type == "Strip") return ParseStrip(json);
    const bool is_known =
        type == "ByteLevel" || type == "ByteFallback" || type == "Replace" || type == "Metaspace";
    if (!is_known) {
      return type_json.Unexpected(
          "ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip or Sequence");
    }
    if (is_fused_) return type_json.Unexpected("Fuse and ByteLevel behind all others but Strip");
    if (type == "ByteLevel") {
      stages_.push_back(std::make_unique<StageOf<NoSettings, ByteLevel>>(NoSettings()));
      is_fused_ = true;
      return absl::OkStatus();
    }
    if (type == "ByteFallback") {
      stages_.push_back(std::make_unique<StageOf<NoSettings, ByteFallback>>(NoSettings()));
      return absl::OkStatus();
    }
    return type == "Replace" ? ParseReplace(json) : ParseMetaspace(json);
  }

  Stages Take() { return std::move(stages_); }

 private:
  absl::Status ParseReplace(const JsonValue& json) {
    TESSERA_ASSIGN_OR_RETURN(const JsonValue pattern_json, json.Member("pattern"));
    TESSERA_ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::FromJson(pattern_json));
    TESSERA_ASSIGN_OR_RETURN(const JsonValue content_json, json.Member("content"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view content, content_json.AsString());
    stages_.push_back(std::make_unique<StageOf<ReplaceSettings, Replace>>(
        ReplaceSettings{std::move(pattern), std::string(content)}));
    return absl::OkStatus();
  }

  absl::Status ParseStrip(const JsonValue& json) {
    StripSettings settings;
    TESSERA_ASSIGN_OR_RETURN(const JsonValue content_json, json.Member("content"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view content, content_json.AsString());
    if (content.empty() || LengthOfLead(content.front()) != content.size()) {
      return content_json.Unexpected("one character");
    }
    settings.content = content;
    settings.is_fused = is_fused_;
    TESSERA_ASSIGN_OR_RETURN(const JsonValue start, json.Member("start"));
    TESSERA_ASSIGN_OR_RETURN(settings.start, start.AsUnsigned());
    TESSERA_ASSIGN_OR_RETURN(const JsonValue stop, json.Member("stop"));
    TESSERA_ASSIGN_OR_RETURN(settings.stop, stop.AsUnsigned(0, 1024));
    stages_.push_back(std::make_unique<StageOf<StripSettings, Strip>>(std::move(settings)));
    return absl::OkStatus();
  }

  absl::Status ParseMetaspace(const JsonValue& json) {
    MetaspaceSettings settings{"\u2581"};
    if (const std::optional<JsonValue> value = json.Find("replacement")) {
      TESSERA_ASSIGN_OR_RETURN(const std::string_view replacement, value->AsString());
      settings.replacement = replacement;
    }
    if (const std::optional<JsonValue> value = json.Find("add_prefix_space")) {
      TESSERA_ASSIGN_OR_RETURN(settings.drops_first, value->AsBool());
    }
    if (const std::optional<JsonValue> value = json.Find("prepend_scheme")) {
      TESSERA_ASSIGN_OR_RETURN(const std::string_view scheme, value->AsString());
      settings.drops_first = scheme != "never";
    }
    stages_.push_back(std::make_unique<StageOf<MetaspaceSettings, Metaspace>>(std::move(settings)));
    return absl::OkStatus();
  }

  Stages stages_;
  bool is_fused_ = false;
};

class Collector : public DecodeSink {
 public:
  void Push(std::string_view text) override { text_ += text; }
  void Flush() override {}
  void MoveTo(std::string* out) {
    out->append(text_);
    text_.clear();
  }

 private:
  std::string text_;
};

class Chain : public DecodeStream {
 public:
  explicit Chain(const std::vector<std::unique_ptr<const Decoder::Stage>>& stages) {
    first_ = &end_;
    for (auto it = stages.rbegin(); it != stages.rend(); ++it) {
      running_.push_back((*it)->Start(*first_));
      first_ = running_.back().get();
    }
  }
  void Push(std::string_view piece, std::string* out) override {
    first_->Push(piece);
    end_.MoveTo(out);
  }
  void Flush(std::string* out) override {
    first_->Flush();
    end_.MoveTo(out);
  }

 private:
  Collector end_;
  std::vector<std::unique_ptr<DecodeSink>> running_;
  DecodeSink* first_;
};

}  // namespace

Decoder::Decoder() = default;
Decoder::~Decoder() = default;

absl::StatusOr<std::unique_ptr<const Decoder>> Decoder::FromJson(const JsonValue& json) {
  auto decoder = std::unique_ptr<Decoder>(new Decoder());
  if (json.is_null()) {
    decoder->stages_.push_back(std::make_unique<StageOf<NoSettings, JoinBySpace>>(NoSettings()));
  } else {
    ChainParser parser;
    TESSERA_RETURN_IF_ERROR(parser.Parse(json, 0));
    decoder->stages_ = parser.Take();
  }
  return std::unique_ptr<const Decoder>(std::move(decoder));
}

std::unique_ptr<DecodeStream> Decoder::NewStream() const {
  return std::make_unique<Chain>(stages_);
}

}  // namespace tessera
