// OpenAI's responses: one object of output items, or a stream of numbered events about them.

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/gateway/api/reply_parts.h"

namespace tessera::gateway {
namespace {

using Kind = OutputEvent::Kind;

// Unique within the reply and over replies: "msg_<the reply's hexadecimal digits>_<index>".
std::string ItemId(const ReplyHead& head, Kind kind, size_t index) {
  const size_t digits = head.id.find('_');
  const std::string tail = digits == std::string::npos ? head.id : head.id.substr(digits + 1);
  const char* prefix = kind == Kind::kReasoning ? "rs_" : kind == Kind::kToolCall ? "fc_" : "msg_";
  return absl::StrCat(prefix, tail, "_", index);
}

// The part of a message or of reasoning.
void WritePart(const OutputBlock& block, std::span<const TokenLogprob> logprobs, JsonWriter& json) {
  if (block.kind == Kind::kReasoning) {
    json.Open('{').Key("type").String("reasoning_text").Key("text").String(block.text).Close('}');
    return;
  }
  json.Open('{').Key("type").String("output_text").Key("text").String(block.text);
  json.Key("annotations").Open('[').Close(']').Key("logprobs");
  WriteTokenLogprobs(logprobs, json);
  json.Close('}');
}

// `status`: in_progress (without its content), completed or incomplete.
void WriteItem(const ReplyHead& head, const OutputBlock& block, size_t index,
               std::string_view status, std::span<const TokenLogprob> logprobs, JsonWriter& json) {
  const bool begins = status == "in_progress";
  json.Open('{').Key("id").String(ItemId(head, block.kind, index)).Key("type");
  if (block.kind == Kind::kToolCall) {
    json.String("function_call").Key("call_id").String(block.call_id);
    json.Key("name").String(block.name);
    json.Key("arguments").String(begins ? std::string_view() : block.text);
  } else {
    if (block.kind == Kind::kReasoning) {
      json.String("reasoning").Key("summary").Open('[').Close(']');
    } else {
      json.String("message").Key("role").String("assistant");
    }
    json.Key("content").Open('[');
    if (!begins) WritePart(block, logprobs, json);
    json.Close(']');
  }
  json.Key("status").String(status).Close('}');
}

void WriteResponsesUsage(const Usage& usage, JsonWriter& json) {
  json.Open('{').Key("input_tokens").Integer(usage.prompt_tokens);
  json.Key("input_tokens_details").Open('{').Key("cached_tokens").Integer(usage.cached_tokens);
  json.Key("cache_write_tokens").Integer(0).Close('}');
  json.Key("output_tokens").Integer(usage.completion_tokens);
  json.Key("output_tokens_details").Open('{');
  json.Key("reasoning_tokens").Integer(usage.reasoning_tokens).Close('}');
  json.Key("total_tokens").Integer(int64_t{usage.prompt_tokens} + usage.completion_tokens);
  json.Close('}');
}

// What a response repeats of its request; copied, the request may go.
struct Echo {
  explicit Echo(const GenerationRequest& request)
      : parts(request.echoed),
        tokens_max(request.tokens_max),
        parallel_tool_calls(request.parallel_tool_calls),
        user(request.user) {}

  ResponsesEcho parts;
  std::optional<uint32_t> tokens_max;
  bool parallel_tool_calls;
  std::string user;
};

bool IsIncomplete(const ChoiceEnd& end) {
  return end.reason == FinishReason::kLength || end.reason == FinishReason::kContentFilter;
}

// `usage` null: the response is in progress. `output`: its items, as JSON with commas.
void WriteResponse(const ReplyHead& head, const Echo& echo, std::string_view output,
                   const ChoiceEnd& end, const Usage* usage, JsonWriter& json) {
  const bool incomplete = usage != nullptr && IsIncomplete(end);
  json.Open('{').Key("id").String(head.id).Key("object").String("response");
  json.Key("created_at").Integer(head.created_unix_s).Key("status");
  json.String(usage == nullptr ? "in_progress" : incomplete ? "incomplete" : "completed");
  json.Key("background").Bool(false).Key("error").Null().Key("incomplete_details");
  if (incomplete) {
    const bool length = end.reason == FinishReason::kLength;
    json.Open('{').Key("reason").String(length ? "max_output_tokens" : "content_filter");
    json.Close('}');
  } else {
    json.Null();
  }
  json.Key("instructions").Raw(echo.parts.instructions).Key("max_output_tokens");
  if (echo.tokens_max.has_value()) {
    json.Integer(*echo.tokens_max);
  } else {
    json.Null();
  }
  json.Key("model").String(head.model).Key("output").Open('[').Raw(output).Close(']');
  json.Key("parallel_tool_calls").Bool(echo.parallel_tool_calls);
  json.Key("previous_response_id").Null().Key("store").Bool(false);
  json.Key("temperature").Number(head.temperature).Key("text").Open('{').Key("format").Open('{');
  json.Key("type").String("text").Close('}').Close('}');
  json.Key("tool_choice").Raw(echo.parts.tool_choice).Key("tools").Raw(echo.parts.tools);
  json.Key("top_p").Number(head.top_p).Key("truncation").String("disabled");
  if (usage != nullptr) {
    json.Key("usage");
    WriteResponsesUsage(*usage, json);
  }
  if (!echo.user.empty()) json.Key("user").String(echo.user);
  json.Key("metadata").Raw(echo.parts.metadata).Close('}');
}

class ResponsesStream final : public StreamWriter {
 public:
  ResponsesStream(const GenerationRequest& request, const ReplyHead& head)
      : head_(head), echo_(request), show_reasoning_(request.include_reasoning) {}

  void Begin(uint32_t, const PromptReport&, const Usage&, std::string& out) override {
    for (const char* type : {"response.created", "response.in_progress"}) {
      JsonWriter json = OpenEvent(type, out);
      json.Key("response");
      WriteResponse(head_, echo_, "", end_, nullptr, json);
      CloseEvent(json);
    }
  }

  void Push(uint32_t, const ChoiceStep& step, const Usage&, std::string& out) override {
    std::span<const TokenLogprob> logprobs = step.logprobs;  // with the step's first content
    for (const OutputEvent& event : step.events) {
      if (event.kind == Kind::kReasoning && !show_reasoning_) continue;
      if (!open_ || !Continues(block_.kind, event)) {
        if (event.kind == Kind::kArguments) continue;
        CloseItem("completed", out);
        OpenItem(event, out);
      }
      if (event.kind == Kind::kToolCall) continue;
      block_.text += event.text;
      WriteDelta(event, logprobs, out);
      if (event.kind == Kind::kContent) logprobs = {};
    }
  }

  void Finish(uint32_t, const ChoiceEnd& end, const Usage&, std::string& out) override {
    end_ = end;
    CloseItem(IsIncomplete(end) ? "incomplete" : "completed", out);
  }

  void End(const Usage& usage, std::string& out) override {
    JsonWriter json =
        OpenEvent(IsIncomplete(end_) ? "response.incomplete" : "response.completed", out);
    json.Key("response");
    WriteResponse(head_, echo_, items_, end_, &usage, json);
    CloseEvent(json);
  }

  void Fail(const ApiError& error, std::string& out) override {
    JsonWriter json = OpenEvent("error", out);
    json.Key("code");
    WriteOptional(error.code, json);
    json.Key("message").String(error.message).Key("param");
    WriteOptional(error.param, json);
    CloseEvent(json);
  }

  void Ping(std::string& out) override { out += ": ping\n\n"; }

 private:
  JsonWriter OpenEvent(std::string_view type, std::string& out) {
    out += "event: ";
    out += type;
    out += "\ndata: ";
    JsonWriter json(out);
    json.Open('{').Key("type").String(type);
    json.Key("sequence_number").Integer(sequence_number_++);
    return json;
  }
  static void CloseEvent(JsonWriter& json) { json.Close('}').out() += "\n\n"; }
  static void WriteOptional(const std::optional<std::string>& text, JsonWriter& json) {
    if (text.has_value()) {
      json.String(*text);
    } else {
      json.Null();
    }
  }

  // An event about the item that is open.
  JsonWriter OpenItemEvent(std::string_view type, std::string& out) {
    JsonWriter json = OpenEvent(type, out);
    json.Key("item_id").String(ItemId(head_, block_.kind, item_count_));
    json.Key("output_index").Integer(static_cast<int64_t>(item_count_));
    if (block_.kind != Kind::kToolCall) json.Key("content_index").Integer(0);
    return json;
  }

  void WriteItemEvent(std::string_view type, std::string_view status, std::string& out) {
    JsonWriter json = OpenEvent(type, out);
    json.Key("output_index").Integer(static_cast<int64_t>(item_count_)).Key("item");
    WriteItem(head_, block_, item_count_, status, logprobs_, json);
    CloseEvent(json);
  }

  void OpenItem(const OutputEvent& event, std::string& out) {
    open_ = true;
    block_ = {.kind = event.kind, .text = "", .call_id = event.call_id, .name = event.name};
    logprobs_.clear();
    WriteItemEvent("response.output_item.added", "in_progress", out);
    if (block_.kind == Kind::kToolCall) return;
    JsonWriter json = OpenItemEvent("response.content_part.added", out);
    json.Key("part");
    WritePart(block_, {}, json);
    CloseEvent(json);
  }

  void WriteDelta(const OutputEvent& event, std::span<const TokenLogprob> logprobs,
                  std::string& out) {
    const bool content = event.kind == Kind::kContent;
    JsonWriter json =
        OpenItemEvent(content                          ? "response.output_text.delta"
                      : event.kind == Kind::kReasoning ? "response.reasoning_text.delta"
                                                       : "response.function_call_arguments.delta",
                      out);
    json.Key("delta").String(event.text);
    if (content) {
      json.Key("logprobs");
      WriteTokenLogprobs(logprobs, json);
      logprobs_.insert(logprobs_.end(), logprobs.begin(), logprobs.end());
    }
    CloseEvent(json);
  }

  void CloseItem(std::string_view status, std::string& out) {
    if (!open_) return;
    if (block_.kind == Kind::kToolCall) {
      JsonWriter json = OpenItemEvent("response.function_call_arguments.done", out);
      json.Key("name").String(block_.name).Key("arguments").String(block_.text);
      CloseEvent(json);
    } else {
      const bool content = block_.kind == Kind::kContent;
      JsonWriter json = OpenItemEvent(
          content ? "response.output_text.done" : "response.reasoning_text.done", out);
      json.Key("text").String(block_.text);
      if (content) {
        json.Key("logprobs");
        WriteTokenLogprobs(logprobs_, json);
      }
      CloseEvent(json);
      JsonWriter part = OpenItemEvent("response.content_part.done", out);
      part.Key("part");
      WritePart(block_, logprobs_, part);
      CloseEvent(part);
    }
    WriteItemEvent("response.output_item.done", status, out);
    JsonWriter kept(items_, /*goes_on=*/!items_.empty());
    WriteItem(head_, block_, item_count_, status, logprobs_, kept);
    open_ = false;
    ++item_count_;
  }

  const ReplyHead head_;
  const Echo echo_;
  const bool show_reasoning_;
  int64_t sequence_number_ = 0;
  size_t item_count_ = 0;  // closed ones; the open one has this index
  bool open_ = false;
  OutputBlock block_;                   // of the open item, so far
  std::vector<TokenLogprob> logprobs_;  // of the open item
  std::string items_;                   // the closed ones, as JSON with commas
  ChoiceEnd end_;
};

}  // namespace

std::unique_ptr<StreamWriter> MakeResponsesStream(const GenerationRequest& request,
                                                  const ReplyHead& head) {
  return std::make_unique<ResponsesStream>(request, head);
}

std::string WriteResponsesReply(const GenerationRequest& request, const ReplyHead& head,
                                const ChoiceOutput& choice, const Usage& usage) {
  const std::vector<OutputBlock> blocks = BlocksOf(choice.events, request.include_reasoning);
  std::string items;
  JsonWriter item_json(items);
  bool first_text = true;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const bool last = i + 1 == blocks.size();
    const bool text = blocks[i].kind == Kind::kContent;
    std::span<const TokenLogprob> logprobs;
    if (text && first_text) logprobs = choice.content_logprobs;
    first_text = first_text && !text;
    WriteItem(head, blocks[i], i, last && IsIncomplete(choice.end) ? "incomplete" : "completed",
              logprobs, item_json);
  }
  std::string out;
  JsonWriter json(out);
  WriteResponse(head, Echo(request), items, choice.end, &usage, json);
  return out;
}

}  // namespace tessera::gateway
