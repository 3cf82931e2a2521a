// Text completions: {"object": "text_completion"}, the same for replies and chunks.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/utf8.h"
#include "services/gateway/api/openai_stream.h"

namespace tessera::gateway {
namespace {

// Tokens are keys here, so that parts of characters must not all become the same one.
std::string TokenName(std::string_view bytes) {
  if (FindInvalidUtf8(bytes) == std::string_view::npos) return std::string(bytes);
  std::string name = "bytes:";
  for (const char byte : bytes)
    absl::StrAppend(&name, "\\x", absl::Hex(static_cast<unsigned char>(byte), absl::kZeroPad2));
  return name;
}

uint64_t CharactersOf(std::string_view bytes) {
  return static_cast<uint64_t>(std::count_if(bytes.begin(), bytes.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  }));
}

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"} of a list of tokens. The first of a
// prompt has no probability; `first_bytes` is its text.
class LogprobLists {
 public:
  // `offset`: characters of the text before these tokens; moved behind them.
  explicit LogprobLists(uint64_t& offset) : offset_(offset) {}

  void AddBare(std::string_view bytes) {
    AddName(bytes);
    JsonWriter(logprobs_, !logprobs_.empty()).Null();
    JsonWriter(top_, !top_.empty()).Null();
  }
  void Add(const TokenLogprob& entry) {
    AddName(entry.token.bytes);
    JsonWriter(logprobs_, !logprobs_.empty()).Number(ShownLogprob(entry.token.logprob));
    JsonWriter json(top_, !top_.empty());
    json.Open('{');
    std::vector<std::string> names;
    const auto add = [&](const ScoredToken& token) {
      std::string name = TokenName(token.bytes);
      if (std::find(names.begin(), names.end(), name) != names.end()) return;
      json.String(name);
      top_ += ':';
      AppendJsonNumber(ShownLogprob(token.logprob), top_);
      names.push_back(std::move(name));
    };
    for (const ScoredToken& token : entry.top) add(token);
    add(entry.token);
    json.Close('}');
  }
  void Write(JsonWriter& json) const {
    json.Open('{').Key("tokens").Open('[').Raw(tokens_).Close(']');
    json.Key("token_logprobs").Open('[').Raw(logprobs_).Close(']');
    json.Key("top_logprobs").Open('[').Raw(top_).Close(']');
    json.Key("text_offset").Open('[').Raw(offsets_).Close(']').Close('}');
  }

 private:
  void AddName(std::string_view bytes) {
    JsonWriter(tokens_, !tokens_.empty()).String(TokenName(bytes));
    JsonWriter(offsets_, !offsets_.empty()).Integer(static_cast<int64_t>(offset_));
    offset_ += CharactersOf(bytes);
  }

  uint64_t& offset_;
  std::string tokens_;
  std::string logprobs_;
  std::string top_;
  std::string offsets_;
};

void AddPrompt(const PromptReport& prompt, LogprobLists& lists) {
  for (const std::optional<TokenLogprob>& entry : prompt.logprobs) {
    if (entry.has_value()) {
      lists.Add(*entry);
    } else {
      lists.AddBare(prompt.first_token);
    }
  }
}

std::string TextOf(std::span<const OutputEvent> events) {
  std::string text;
  for (const OutputEvent& event : events) text += event.text;
  return text;
}

class CompletionStream final : public OpenAiStream {
 public:
  CompletionStream(const GenerationRequest& request, const ReplyHead& head)
      : OpenAiStream(request, head, "text_completion"),
        echo_(request.echo),
        logprobs_(request.logprobs.has_value()),
        return_token_ids_(request.return_token_ids) {}

  void Begin(uint32_t choice, const PromptReport& prompt, const Usage& usage,
             std::string& out) override {
    if (offsets_.size() <= choice) offsets_.resize(size_t{choice} + 1);
    const bool show_ids = return_token_ids_ && !prompt.token_ids.empty();
    if (!echo_ && !show_ids) return;
    LogprobLists lists(offsets_[choice]);
    if (echo_ && logprobs_) AddPrompt(prompt, lists);
    JsonWriter json = OpenText(choice, echo_ ? prompt.text : "", out);
    if (echo_ && logprobs_) {
      lists.Write(json);
    } else {
      json.Null();
    }
    json.Key("finish_reason").Null();
    if (show_ids) {
      json.Key("prompt_token_ids");
      WriteTokenIds(prompt.token_ids, json);
    }
    CloseChoice(json);
    CloseChunk(usage, json);
  }

  void Push(uint32_t choice, const ChoiceStep& step, const Usage& usage,
            std::string& out) override {
    const std::string text = TextOf(step.events);
    if (text.empty() && step.logprobs.empty() && step.token_ids.empty() &&
        step.routed_experts.empty()) {
      return;
    }
    if (offsets_.size() <= choice) offsets_.resize(size_t{choice} + 1);
    JsonWriter json = OpenText(choice, text, out);
    if (step.logprobs.empty()) {
      json.Null();
    } else {
      LogprobLists lists(offsets_[choice]);
      for (const TokenLogprob& entry : step.logprobs) lists.Add(entry);
      lists.Write(json);
    }
    CloseStep(step, usage, json);
  }

  void Finish(uint32_t choice, const ChoiceEnd& end, const Usage& usage,
              std::string& out) override {
    JsonWriter json = OpenText(choice, "", out);
    json.Null();
    CloseLast(end, usage, json);
  }

 private:
  // Up to the key "logprobs".
  JsonWriter OpenText(uint32_t choice, std::string_view text, std::string& out) const {
    JsonWriter json = OpenChunk(choice, out);
    json.Key("text").String(text).Key("logprobs");
    return json;
  }

  const bool echo_;
  const bool logprobs_;
  const bool return_token_ids_;
  std::vector<uint64_t> offsets_;  // characters so far, per choice
};

void WriteChoice(const GenerationRequest& request, const ReplyHead& head, uint32_t index,
                 const ChoiceOutput& choice, JsonWriter& json) {
  json.Open('{').Key("index").Integer(index);
  json.Key("text").String((request.echo ? choice.prompt.text : "") + TextOf(choice.events));
  json.Key("logprobs");
  if (request.logprobs.has_value()) {
    uint64_t offset = 0;
    LogprobLists lists(offset);
    if (request.echo) AddPrompt(choice.prompt, lists);
    for (const TokenLogprob& entry : choice.logprobs) lists.Add(entry);
    lists.Write(json);
  } else {
    json.Null();
  }
  WriteChoiceTail(request, head, choice, json);
  WritePromptExtras(request, choice.prompt, json);
  json.Close('}');
}

}  // namespace

std::unique_ptr<StreamWriter> MakeCompletionStream(const GenerationRequest& request,
                                                   const ReplyHead& head) {
  return std::make_unique<CompletionStream>(request, head);
}

std::string WriteCompletionReply(const GenerationRequest& request, const ReplyHead& head,
                                 std::span<const ChoiceOutput> choices, const Usage& usage) {
  std::string out;
  JsonWriter json(out);
  json.Open('{');
  WriteHead(head, "text_completion", json);
  json.Key("choices").Open('[');
  for (size_t i = 0; i < choices.size(); ++i)
    WriteChoice(request, head, static_cast<uint32_t>(i), choices[i], json);
  json.Close(']');
  WriteReplyTail(usage, json);
  json.Close('}');
  return out;
}

}  // namespace tessera::gateway
