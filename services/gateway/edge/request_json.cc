#include "services/gateway/edge/request_json.h"

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json.h"
#include "common/json/json_writer.h"
#include "services/gateway/api/api_error.h"
#include "tessera/v1/inference.pb.h"

namespace tessera::gateway {
namespace {

void WriteOptions(const v1::GenerationOptions& options, JsonWriter& json) {
  if (options.has_temperature()) json.Key("temperature").Number(options.temperature());
  if (options.has_top_p()) json.Key("top_p").Number(options.top_p());
  if (options.has_top_k()) json.Key("top_k").Integer(options.top_k());
  if (options.has_min_p()) json.Key("min_p").Number(options.min_p());
  if (options.has_repetition_penalty()) {
    json.Key("repetition_penalty").Number(options.repetition_penalty());
  }
  if (options.has_presence_penalty()) {
    json.Key("presence_penalty").Number(options.presence_penalty());
  }
  if (options.has_frequency_penalty()) {
    json.Key("frequency_penalty").Number(options.frequency_penalty());
  }
  if (options.has_seed()) json.Key("seed").Integer(options.seed());
  if (options.has_max_tokens()) json.Key("max_tokens").Integer(options.max_tokens());
  if (options.min_tokens() > 0) json.Key("min_tokens").Integer(options.min_tokens());
  if (options.stop_size() > 0) {
    json.Key("stop").Open('[');
    for (const std::string& stop : options.stop()) json.String(stop);
    json.Close(']');
  }
  if (options.stop_token_ids_size() > 0) {
    json.Key("stop_token_ids").Open('[');
    for (const int32_t id : options.stop_token_ids()) json.Integer(id);
    json.Close(']');
  }
  if (options.ignore_eos()) json.Key("ignore_eos").Bool(true);
  if (options.n() > 0) json.Key("n").Integer(options.n());
  if (options.priority() != 0) json.Key("priority").Integer(options.priority());
  if (!options.cache_salt().empty()) json.Key("cache_salt").String(options.cache_salt());
}

// It goes into the body as it is: what is more, or less, than one object would become other fields.
absl::Status CheckObject(const std::string& param, const std::string& json) {
  const auto document = JsonDocument::Parse(json, {.bytes_max = size_t{32} << 20});
  if (!document.ok()) {
    return BadRequest(param, absl::StrCat(param, " is not JSON: ", document.status().message()));
  }
  if (document->root().is_object()) return absl::OkStatus();
  return BadRequest(
      param, absl::StrCat(param, ": found ", document->root().Describe(), "; expected an object"));
}

void WriteToolCalls(const v1::ChatMessage& message, JsonWriter& json) {
  if (message.tool_calls_size() == 0) return;
  json.Key("tool_calls").Open('[');
  for (const v1::ToolCall& call : message.tool_calls()) {
    json.Open('{').Key("id").String(call.id()).Key("type").String("function");
    json.Key("function").Open('{').Key("name").String(call.name());
    json.Key("arguments").String(call.arguments()).Close('}').Close('}');
  }
  json.Close(']');
}

void WriteMessage(const v1::ChatMessage& message, JsonWriter& json) {
  json.Open('{').Key("role").String(message.role());
  json.Key("content");
  if (message.content().empty() && message.tool_calls_size() > 0) {
    json.Null();  // who only calls says nothing
  } else {
    json.String(message.content());
  }
  if (!message.tool_call_id().empty()) json.Key("tool_call_id").String(message.tool_call_id());
  if (!message.reasoning().empty()) json.Key("reasoning").String(message.reasoning());
  if (!message.name().empty()) json.Key("name").String(message.name());
  WriteToolCalls(message, json);
  json.Close('}');
}

absl::Status WriteTools(const v1::ChatRequest& request, JsonWriter& json) {
  if (request.tools_json_size() > 0) {
    json.Key("tools").Open('[');
    for (int i = 0; i < request.tools_json_size(); ++i) {
      TESSERA_RETURN_IF_ERROR(
          CheckObject(absl::StrCat("tools_json[", i, "]"), request.tools_json(i)));
      json.Raw(request.tools_json(i));
    }
    json.Close(']');
  }
  const std::string& choice = request.tool_choice();
  if (choice == "auto" || choice == "none" || choice == "required") {
    json.Key("tool_choice").String(choice);
  } else if (!choice.empty()) {
    json.Key("tool_choice").Open('{').Key("type").String("function");
    json.Key("function").Open('{').Key("name").String(choice).Close('}').Close('}');
  }
  if (request.has_parallel_tool_calls()) {
    json.Key("parallel_tool_calls").Bool(request.parallel_tool_calls());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ToJson(const v1::ChatRequest& request) {
  std::string body;
  JsonWriter json(body);
  json.Open('{').Key("model").String(request.model()).Key("messages").Open('[');
  for (const v1::ChatMessage& message : request.messages()) WriteMessage(message, json);
  json.Close(']');
  TESSERA_RETURN_IF_ERROR(WriteTools(request, json));
  if (!request.reasoning_effort().empty()) {
    json.Key("reasoning_effort").String(request.reasoning_effort());
  }
  if (const std::string& kwargs = request.chat_template_kwargs_json(); !kwargs.empty()) {
    TESSERA_RETURN_IF_ERROR(CheckObject("chat_template_kwargs_json", kwargs));
    json.Key("chat_template_kwargs").Raw(kwargs);
  }
  WriteOptions(request.options(), json);
  json.Close('}');
  return body;
}

std::string ToJson(const v1::CompleteRequest& request) {
  std::string body;
  JsonWriter json(body);
  json.Open('{').Key("model").String(request.model()).Key("prompt").String(request.prompt());
  WriteOptions(request.options(), json);
  json.Close('}');
  return body;
}

std::string ToJson(const v1::GenerateTokensRequest& request) {
  std::string body;
  JsonWriter json(body);
  json.Open('{').Key("model").String(request.model()).Key("prompt").Open('[');
  for (const int32_t id : request.prompt_token_ids()) json.Integer(id);
  json.Close(']').Key("return_token_ids").Bool(true);
  WriteOptions(request.options(), json);
  json.Close('}');
  return body;
}

}  // namespace tessera::gateway
