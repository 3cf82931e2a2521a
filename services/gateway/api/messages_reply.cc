// Anthropic's messages: one object, or a stream of named events without an end mark.

#include <utility>

#include "services/gateway/api/reply_parts.h"

namespace tessera::gateway {
namespace {

using Kind = OutputEvent::Kind;

// "stop_reason" and "stop_sequence".
void WriteStop(const ChoiceEnd& end, JsonWriter& json) {
  const auto* sequence = std::get_if<std::string>(&end.stopped_by);
  std::string_view reason = "end_turn";
  if (end.reason == FinishReason::kLength) reason = "max_tokens";
  if (end.reason == FinishReason::kToolCalls) reason = "tool_use";
  if (end.reason == FinishReason::kContentFilter) reason = "refusal";
  if (end.reason == FinishReason::kStop && sequence != nullptr) reason = "stop_sequence";
  json.Key("stop_reason").String(reason).Key("stop_sequence");
  if (reason == "stop_sequence") {
    json.String(*sequence);
  } else {
    json.Null();
  }
}

// Tokens of the cache are not counted among input_tokens here.
void WriteMessagesUsage(const Usage& usage, JsonWriter& json) {
  json.Open('{').Key("input_tokens");
  json.Integer(int64_t{usage.prompt_tokens} - usage.cached_tokens);
  json.Key("cache_creation_input_tokens").Integer(0);
  json.Key("cache_read_input_tokens").Integer(usage.cached_tokens);
  json.Key("output_tokens").Integer(usage.completion_tokens).Close('}');
}

void OpenMessage(const ReplyHead& head, JsonWriter& json) {
  json.Open('{').Key("id").String(head.id).Key("type").String("message");
  json.Key("role").String("assistant").Key("model").String(head.model).Key("content");
}

// A call's arguments are JSON of the model: not always an object, and not always whole.
void WriteInput(const std::string& arguments, JsonWriter& json) {
  const auto document = JsonDocument::Parse(arguments);
  if (document.ok() && document->root().is_object()) {
    json.Raw(arguments);
  } else {
    json.Open('{').Key("raw_arguments").String(arguments).Close('}');
  }
}

void WriteBlock(const OutputBlock& block, JsonWriter& json) {
  json.Open('{');
  if (block.kind == Kind::kReasoning) {
    json.Key("type").String("thinking").Key("thinking").String(block.text);
    json.Key("signature").String("");
  } else if (block.kind == Kind::kToolCall) {
    json.Key("type").String("tool_use").Key("id").String(block.call_id);
    json.Key("name").String(block.name).Key("input");
    WriteInput(block.text, json);
  } else {
    json.Key("type").String("text").Key("text").String(block.text);
  }
  json.Close('}');
}

class MessagesStream final : public StreamWriter {
 public:
  MessagesStream(const GenerationRequest& request, const ReplyHead& head)
      : head_(head), show_reasoning_(request.include_reasoning) {}

  void Begin(uint32_t, const PromptReport&, const Usage& usage, std::string& out) override {
    JsonWriter json = OpenEvent("message_start", out);
    json.Key("message");
    OpenMessage(head_, json);
    json.Open('[').Close(']').Key("stop_reason").Null().Key("stop_sequence").Null();
    json.Key("usage");
    WriteMessagesUsage(usage, json);
    json.Close('}');
    CloseEvent(json);
  }

  void Push(uint32_t, const ChoiceStep& step, const Usage&, std::string& out) override {
    for (const OutputEvent& event : step.events) {
      if (event.kind == Kind::kReasoning && !show_reasoning_) continue;
      if (!open_ || !Continues(kind_, event)) {
        if (event.kind == Kind::kArguments) continue;
        CloseBlock(out);
        OpenBlock(event, out);
      }
      if (event.kind != Kind::kToolCall) WriteDelta(event, out);
    }
  }

  void Finish(uint32_t, const ChoiceEnd& end, const Usage&, std::string& out) override {
    CloseBlock(out);
    end_ = end;
  }

  void End(const Usage& usage, std::string& out) override {
    JsonWriter json = OpenEvent("message_delta", out);
    json.Key("delta").Open('{');
    WriteStop(end_, json);
    json.Close('}').Key("usage");
    WriteMessagesUsage(usage, json);
    CloseEvent(json);
    JsonWriter stop = OpenEvent("message_stop", out);
    CloseEvent(stop);
  }

  void Fail(const ApiError& error, std::string& out) override {
    out += "event: error\ndata: ";
    out += ErrorBody(error, ErrorDialect::kAnthropic, head_.request_id);
    out += "\n\n";
  }

  void Ping(std::string& out) override {
    JsonWriter json = OpenEvent("ping", out);
    CloseEvent(json);
  }

 private:
  static JsonWriter OpenEvent(std::string_view type, std::string& out) {
    out += "event: ";
    out += type;
    out += "\ndata: ";
    JsonWriter json(out);
    json.Open('{').Key("type").String(type);
    return json;
  }
  static void CloseEvent(JsonWriter& json) { json.Close('}').out() += "\n\n"; }

  void OpenBlock(const OutputEvent& event, std::string& out) {
    open_ = true;
    kind_ = event.kind;
    JsonWriter json = OpenEvent("content_block_start", out);
    json.Key("index").Integer(index_).Key("content_block");
    WriteBlock({.kind = kind_,
                .text = kind_ == Kind::kToolCall ? "{}" : "",
                .call_id = event.call_id,
                .name = event.name},
               json);
    CloseEvent(json);
  }

  JsonWriter OpenDelta(std::string_view type, std::string& out) const {
    JsonWriter json = OpenEvent("content_block_delta", out);
    json.Key("index").Integer(index_).Key("delta").Open('{').Key("type").String(type);
    return json;
  }

  void WriteDelta(const OutputEvent& event, std::string& out) const {
    const bool thinking = event.kind == Kind::kReasoning;
    const bool input = event.kind == Kind::kArguments;
    JsonWriter json = OpenDelta(thinking ? "thinking_delta"
                                : input  ? "input_json_delta"
                                         : "text_delta",
                                out);
    json.Key(thinking ? "thinking" : input ? "partial_json" : "text").String(event.text);
    json.Close('}');
    CloseEvent(json);
  }

  void CloseBlock(std::string& out) {
    if (!open_) return;
    if (kind_ == Kind::kReasoning) {
      JsonWriter json = OpenDelta("signature_delta", out);
      json.Key("signature").String("").Close('}');
      CloseEvent(json);
    }
    JsonWriter json = OpenEvent("content_block_stop", out);
    json.Key("index").Integer(index_);
    CloseEvent(json);
    open_ = false;
    ++index_;
  }

  const ReplyHead head_;
  const bool show_reasoning_;
  bool open_ = false;  // a block is; then of kind_, number index_
  Kind kind_ = Kind::kContent;
  int64_t index_ = 0;
  ChoiceEnd end_;
};

}  // namespace

std::unique_ptr<StreamWriter> MakeMessagesStream(const GenerationRequest& request,
                                                 const ReplyHead& head) {
  return std::make_unique<MessagesStream>(request, head);
}

std::string WriteMessagesReply(const GenerationRequest& request, const ReplyHead& head,
                               const ChoiceOutput& choice, const Usage& usage) {
  std::string out;
  JsonWriter json(out);
  OpenMessage(head, json);
  json.Open('[');
  for (const OutputBlock& block : BlocksOf(choice.events, request.include_reasoning))
    WriteBlock(block, json);
  json.Close(']');
  WriteStop(choice.end, json);
  json.Key("usage");
  WriteMessagesUsage(usage, json);
  json.Close('}');
  return out;
}

}  // namespace tessera::gateway
