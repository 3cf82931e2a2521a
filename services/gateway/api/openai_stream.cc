#include "services/gateway/api/openai_stream.h"

namespace tessera::gateway {

OpenAiStream::OpenAiStream(const GenerationRequest& request, const ReplyHead& head,
                           std::string_view object)
    : head_(head),
      include_usage_(request.include_usage),
      continuous_usage_(request.include_usage && request.continuous_usage),
      prefix_("data: ") {
  JsonWriter json(prefix_);
  json.Open('{');
  WriteHead(head, object, json);
  prefix_ += ",";
}

JsonWriter OpenAiStream::OpenChunk(uint32_t choice, std::string& out) const {
  out += prefix_;
  JsonWriter json(out);
  json.Key("choices").Open('[').Open('{').Key("index").Integer(choice);
  return json;
}

void OpenAiStream::CloseStep(const ChoiceStep& step, const Usage& usage, JsonWriter& json) const {
  json.Key("finish_reason").Null();
  if (!step.token_ids.empty()) {
    json.Key("token_ids");
    WriteTokenIds(step.token_ids, json);
  }
  if (!step.routed_experts.empty()) {
    json.Key("routed_experts");
    WriteRoutedExperts(step.routed_experts, head_.experts_per_token, json);
  }
  CloseChoice(json);
  CloseChunk(usage, json);
}

void OpenAiStream::CloseLast(const ChoiceEnd& end, const Usage& usage, JsonWriter& json) const {
  json.Key("finish_reason").String(NameOf(end.reason));
  WriteEndExtras(end, json);
  CloseChoice(json);
  CloseChunk(usage, json);
}

void OpenAiStream::CloseChunk(const Usage& usage, JsonWriter& json) const {
  if (continuous_usage_) {
    json.Key("usage");
    WriteUsage(usage, json);
  } else if (include_usage_) {
    json.Key("usage").Null();
  }
  json.out() += "}\n\n";
}

void OpenAiStream::End(const Usage& usage, std::string& out) {
  if (include_usage_) {
    out += prefix_;
    JsonWriter json(out);
    json.Key("choices").Open('[').Close(']');
    WriteReplyTail(usage, json);
    out += "}\n\n";
  }
  out += "data: [DONE]\n\n";
}

void OpenAiStream::Fail(const ApiError& error, std::string& out) {
  out += "data: ";
  out += ErrorBody(error, ErrorDialect::kOpenAi, head_.id);
  out += "\n\n";
}

void OpenAiStream::Ping(std::string& out) { out += ": ping\n\n"; }

}  // namespace tessera::gateway
