// Chat completions: {"object": "chat.completion"} and its chunks.

#include <utility>

#include "services/gateway/api/openai_stream.h"

namespace tessera::gateway {
namespace {

using Kind = OutputEvent::Kind;

void WriteReasoning(ReasoningField field, std::string_view text, JsonWriter& json) {
  if (field == ReasoningField::kDeepseek || field == ReasoningField::kBoth)
    json.Key("reasoning_content").String(text);
  if (field == ReasoningField::kOpenrouter || field == ReasoningField::kBoth)
    json.Key("reasoning").String(text);
}

bool ShowsReasoning(const GenerationRequest& request, const ReplyHead& head) {
  return request.include_reasoning && head.reasoning_field != ReasoningField::kNone;
}

class ChatStream final : public OpenAiStream {
 public:
  ChatStream(const GenerationRequest& request, const ReplyHead& head)
      : OpenAiStream(request, head, "chat.completion.chunk"),
        show_reasoning_(ShowsReasoning(request, head)),
        return_token_ids_(request.return_token_ids) {}

  void Begin(uint32_t choice, const PromptReport& prompt, const Usage& usage,
             std::string& out) override {
    JsonWriter json = OpenDelta(choice, out);
    json.Key("role").String("assistant").Key("content").String("").Close('}');
    json.Key("logprobs").Null().Key("finish_reason").Null();
    CloseChoice(json);
    if (return_token_ids_ && !prompt.token_ids.empty()) {
      json.Key("prompt_token_ids");
      WriteTokenIds(prompt.token_ids, json);
    }
    CloseChunk(usage, json);
  }

  void Push(uint32_t choice, const ChoiceStep& step, const Usage& usage,
            std::string& out) override {
    ChoiceStep extras = step;  // with the first chunk, or with one of their own
    for (const OutputEvent& event : step.events) {
      if (event.kind == Kind::kReasoning && !show_reasoning_) continue;
      WriteDelta(choice, &event, extras, usage, out);
      extras = {};
    }
    if (!extras.logprobs.empty() || !extras.token_ids.empty() || !extras.routed_experts.empty())
      WriteDelta(choice, nullptr, extras, usage, out);
  }

  void Finish(uint32_t choice, const ChoiceEnd& end, const Usage& usage,
              std::string& out) override {
    JsonWriter json = OpenDelta(choice, out);
    json.Close('}').Key("logprobs").Null();
    CloseLast(end, usage, json);
  }

 private:
  JsonWriter OpenDelta(uint32_t choice, std::string& out) const {
    JsonWriter json = OpenChunk(choice, out);
    json.Key("delta").Open('{');
    return json;
  }

  void WriteEvent(const OutputEvent& event, JsonWriter& json) const {
    switch (event.kind) {
      case Kind::kReasoning:
        WriteReasoning(head().reasoning_field, event.text, json);
        return;
      case Kind::kContent:
        json.Key("content").String(event.text);
        return;
      case Kind::kToolCall:
        json.Key("tool_calls").Open('[').Open('{').Key("index").Integer(event.call_index);
        json.Key("id").String(event.call_id).Key("type").String("function");
        json.Key("function").Open('{').Key("name").String(event.name);
        json.Key("arguments").String("").Close('}').Close('}').Close(']');
        return;
      case Kind::kArguments:
        json.Key("tool_calls").Open('[').Open('{').Key("index").Integer(event.call_index);
        json.Key("function").Open('{').Key("arguments").String(event.text);
        json.Close('}').Close('}').Close(']');
        return;
    }
  }

  void WriteDelta(uint32_t choice, const OutputEvent* event, const ChoiceStep& extras,
                  const Usage& usage, std::string& out) const {
    JsonWriter json = OpenDelta(choice, out);
    if (event != nullptr) WriteEvent(*event, json);
    json.Close('}').Key("logprobs");
    if (extras.logprobs.empty()) {
      json.Null();
    } else {
      WriteChatLogprobs(extras.logprobs, json);
    }
    CloseStep(extras, usage, json);
  }

  const bool show_reasoning_;
  const bool return_token_ids_;
};

void WriteMessage(std::span<const OutputBlock> blocks, ReasoningField field, JsonWriter& json) {
  std::string content;
  std::string reasoning;
  bool has_calls = false;
  for (const OutputBlock& block : blocks) {
    if (block.kind == Kind::kContent) content += block.text;
    if (block.kind == Kind::kReasoning) reasoning += block.text;
    has_calls = has_calls || block.kind == Kind::kToolCall;
  }
  json.Open('{').Key("role").String("assistant").Key("content");
  if (content.empty() && !blocks.empty()) {
    json.Null();  // the model said something, but no content
  } else {
    json.String(content);
  }
  json.Key("refusal").Null();
  if (!reasoning.empty()) WriteReasoning(field, reasoning, json);
  if (has_calls) {
    json.Key("tool_calls").Open('[');
    for (const OutputBlock& block : blocks) {
      if (block.kind != Kind::kToolCall) continue;
      json.Open('{').Key("id").String(block.call_id).Key("type").String("function");
      json.Key("function").Open('{').Key("name").String(block.name);
      json.Key("arguments").String(block.text).Close('}').Close('}');
    }
    json.Close(']');
  }
  json.Close('}');
}

void WriteChoice(const GenerationRequest& request, const ReplyHead& head, uint32_t index,
                 const ChoiceOutput& choice, JsonWriter& json) {
  json.Open('{').Key("index").Integer(index).Key("message");
  // Reasoning counts as said even where it is not shown, so that content is null and not "".
  std::vector<OutputBlock> blocks = BlocksOf(choice.events, /*show_reasoning=*/true);
  const bool show = ShowsReasoning(request, head);
  WriteMessage(blocks, show ? head.reasoning_field : ReasoningField::kNone, json);
  json.Key("logprobs");
  if (request.logprobs.has_value()) {
    WriteChatLogprobs(choice.logprobs, json);
  } else {
    json.Null();
  }
  WriteChoiceTail(request, head, choice, json);
  json.Close('}');
}

}  // namespace

std::unique_ptr<StreamWriter> MakeChatStream(const GenerationRequest& request,
                                             const ReplyHead& head) {
  return std::make_unique<ChatStream>(request, head);
}

std::string WriteChatReply(const GenerationRequest& request, const ReplyHead& head,
                           std::span<const ChoiceOutput> choices, const Usage& usage) {
  std::string out;
  JsonWriter json(out);
  json.Open('{');
  WriteHead(head, "chat.completion", json);
  json.Key("choices").Open('[');
  for (size_t i = 0; i < choices.size(); ++i)
    WriteChoice(request, head, static_cast<uint32_t>(i), choices[i], json);
  json.Close(']');
  WriteReplyTail(usage, json);
  if (!choices.empty()) WritePromptExtras(request, choices[0].prompt, json);
  json.Close('}');
  return out;
}

}  // namespace tessera::gateway
