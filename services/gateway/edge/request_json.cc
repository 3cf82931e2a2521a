#include "services/gateway/edge/request_json.h"

#include "common/json/json_writer.h"
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

}  // namespace

std::string ToJson(const v1::ChatRequest& request) {
  std::string body;
  JsonWriter json(body);
  json.Open('{').Key("model").String(request.model()).Key("messages").Open('[');
  for (const v1::ChatMessage& message : request.messages()) {
    json.Open('{').Key("role").String(message.role()).Key("content").String(message.content());
    if (!message.tool_call_id().empty()) json.Key("tool_call_id").String(message.tool_call_id());
    json.Close('}');
  }
  json.Close(']');
  if (request.tools_json_size() > 0) {
    json.Key("tools").Open('[');
    for (const std::string& tool : request.tools_json()) json.Raw(tool);
    json.Close(']');
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
