#include "services/gateway/api/common_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/wire/generation_wire.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/template/chat_template.h"

namespace tessera::gateway {
namespace {

constexpr size_t kFunctionNameBytesMax = 128;
constexpr size_t kSaltBytesMax = 1024;
constexpr size_t kTemplateVariablesMax = 256;

bool IsFunctionName(std::string_view name) {
  return !name.empty() && name.size() <= kFunctionNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == ':' || c == '/';
         });
}

void ReadLogitBias(FieldReader& fields, SamplingOverrides& sampling) {
  const std::optional<JsonValue> object = fields.Object("logit_bias");
  if (!object.has_value()) return;
  if (object->size() > wire::kBiasMax) {
    fields.Refuse(*object, absl::StrCat("at most ", wire::kBiasMax, " entries"));
    return;
  }
  for (const auto [key, value] : object->members()) {
    int32_t id = 0;
    const bool is_digits = !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) {
      return std::isdigit(c) != 0;
    });
    if (!is_digits || !absl::SimpleAtoi(absl::string_view(key.data(), key.size()), &id)) {
      fields.Fail(BadRequest("logit_bias", absl::StrCat("logit_bias: the keys are token ids, and ",
                                                        value.Path(), " is none")));
      return;
    }
    const absl::StatusOr<double> bias = value.AsNumber();
    if (!bias.ok() || *bias < -100 || *bias > 100) {
      fields.Refuse(value, "a number from -100 to 100");
      return;
    }
    sampling.logit_bias.emplace_back(static_cast<TokenId>(id), static_cast<float>(*bias));
  }
}

void RefuseConstraints(FieldReader& fields) {
  constexpr std::array<std::string_view, 7> kConstraints = {
      "structured_outputs", "guided_json",     "guided_regex", "guided_choice",
      "guided_grammar",     "guided_decoding", "grammar"};
  for (const std::string_view key : kConstraints) {
    if (fields.Find(key).has_value())
      fields.RefuseUnsupported(key, "output cannot be constrained by a grammar yet");
  }
  if (fields.Find("thinking_token_budget").has_value())
    fields.RefuseUnsupported("thinking_token_budget", "reasoning has no budget of its own");
  if (fields.Bool("use_beam_search").value_or(false))
    fields.RefuseUnsupported("use_beam_search", "tokens are sampled, beams are not kept");
}

void ReadStreamOptions(FieldReader& fields, GenerationRequest& request) {
  const std::optional<JsonValue> options = fields.Object("stream_options");
  if (!options.has_value()) return;
  if (!request.stream) {
    fields.Fail(BadRequest("stream_options", "stream_options is for stream: true only"));
    return;
  }
  FieldReader inner(*options, fields.status());
  request.include_usage = inner.Bool("include_usage").value_or(false);
  request.continuous_usage = inner.Bool("continuous_usage_stats").value_or(false);
}

}  // namespace

absl::StatusOr<JsonDocument> ParseBody(std::string_view body, const RequestLimits& limits) {
  absl::StatusOr<JsonDocument> document = JsonDocument::Parse(body, limits.json);
  if (document.status().code() == absl::StatusCode::kInvalidArgument)
    return WithCode(document.status(), "invalid_json");
  return document;
}

void ReadSampling(FieldReader& fields, float temperature_max, SamplingOverrides& sampling) {
  sampling.temperature = fields.Number("temperature", {0, temperature_max});
  sampling.top_p = fields.Number("top_p", {0, 1, /*above_min=*/true});
  sampling.min_p = fields.Number("min_p", {0, 1});
  sampling.repetition_penalty = fields.Number(
      "repetition_penalty", {wire::kRepetitionPenaltyMin, wire::kRepetitionPenaltyMax});
  sampling.presence_penalty = fields.Number("presence_penalty", {-2, 2});
  sampling.frequency_penalty = fields.Number("frequency_penalty", {-2, 2});
  if (const std::optional<int64_t> top_k = fields.Integer("top_k", -1, kTokensMax))
    sampling.top_k = static_cast<uint32_t>(std::max<int64_t>(*top_k, 0));
  sampling.seed = fields.Integer("seed", INT64_MIN, INT64_MAX);
  ReadLogitBias(fields, sampling);
  sampling.allowed_token_ids = fields.TokenIds("allowed_token_ids", size_t{1} << 20);
  RefuseConstraints(fields);
}

void ReadExtras(FieldReader& fields, const RequestLimits& limits, GenerationRequest& request) {
  request.tokens_min = fields.Count("min_tokens", 0, kTokensMax).value_or(0);
  request.stop_token_ids = fields.TokenIds("stop_token_ids", wire::kStopTokensMax);
  request.include_stop_in_output = fields.Bool("include_stop_str_in_output").value_or(false);
  request.ignore_eos = fields.Bool("ignore_eos").value_or(false);
  request.skip_special_tokens = fields.Bool("skip_special_tokens").value_or(true);
  request.truncate_prompt_tokens = fields.Count("truncate_prompt_tokens", 1, kTokensMax);
  request.prompt_logprobs = fields.Count("prompt_logprobs", 0, limits.logprobs_max);
  request.return_token_ids = fields.Bool("return_token_ids").value_or(false);
  request.return_routed_experts = fields.Bool("return_routed_experts").value_or(false);
  request.degraded_allowed = fields.Bool("degraded_allowed").value_or(false);
  request.include_reasoning = fields.Bool("include_reasoning").value_or(true);
  request.priority =
      static_cast<int32_t>(fields.Integer("priority", INT32_MIN, INT32_MAX).value_or(0));
  request.cache_salt = fields.String("cache_salt", kSaltBytesMax).value_or("");
  request.request_id = fields.String("request_id", wire::kRequestIdBytesMax).value_or("");
}

void ReadOpenAiFields(FieldReader& fields, const RequestLimits& limits,
                      GenerationRequest& request) {
  request.model = fields.String("model").value_or("");
  request.n = fields.Count("n", 1, limits.n_max).value_or(1);
  request.stop = ReadStops(fields, "stop", limits);
  request.stream = fields.Bool("stream").value_or(false);
  ReadStreamOptions(fields, request);
  request.user = fields.String("user").value_or("");
}

void CheckTogether(FieldReader& fields, const RequestLimits& limits,
                   const GenerationRequest& request) {
  if (request.tokens_max.has_value() && request.tokens_min > *request.tokens_max) {
    fields.Fail(BadRequest("min_tokens",
                           absl::StrCat("min_tokens is ", request.tokens_min, ", more than the ",
                                        *request.tokens_max, " tokens asked for at most")));
  }
  if (request.stream && request.prompt_logprobs.has_value()) {
    fields.Fail(BadRequest("prompt_logprobs", "prompt_logprobs are not for streams"));
  }
  const auto* prompts = std::get_if<std::vector<CompletionPrompt>>(&request.prompt);
  const uint64_t choices = uint64_t{request.n} * (prompts != nullptr ? prompts->size() : 1);
  if (choices > limits.sequences_max) {
    fields.Fail(BadRequest(
        "n", absl::StrCat("n times the prompts is ", choices, "; at most ", limits.sequences_max)));
  }
}

std::vector<std::string> ReadStops(FieldReader& fields, std::string_view key,
                                   const RequestLimits& limits) {
  std::vector<std::string> stops;
  const std::optional<JsonValue> value = fields.Find(key);
  if (!value.has_value()) return stops;
  const auto add = [&](const JsonValue& element) {
    const absl::StatusOr<std::string_view> text = element.AsString();
    if (text.ok() && !text->empty() && text->size() <= limits.stop_bytes_max) {
      stops.emplace_back(*text);
    } else {
      fields.Refuse(element, absl::StrCat("a string of 1 to ", limits.stop_bytes_max, " bytes"));
    }
  };
  if (!value->is_array()) {
    add(*value);
  } else if (value->size() > limits.stops_max) {
    fields.Refuse(*value, absl::StrCat("at most ", limits.stops_max, " strings"));
  } else {
    for (const JsonValue element : value->elements()) add(element);
  }
  return stops;
}

void ReadTemplateFields(FieldReader& fields, ChatPrompt& prompt) {
  if (fields.Find("chat_template").has_value())
    fields.RefuseUnsupported("chat_template", "the model's own template is used");
  const std::optional<bool> add = fields.Bool("add_generation_prompt");
  prompt.continue_final_message = fields.Bool("continue_final_message").value_or(false);
  prompt.add_generation_prompt = add.value_or(!prompt.continue_final_message);
  if (prompt.add_generation_prompt && prompt.continue_final_message) {
    fields.Fail(BadRequest("continue_final_message",
                           "continue_final_message excludes add_generation_prompt: true"));
  }
  ApplyReasoningEffort(fields, "reasoning_effort", prompt);
  const std::optional<JsonValue> kwargs = fields.Object("chat_template_kwargs");
  if (!kwargs.has_value()) return;
  if (kwargs->size() > kTemplateVariablesMax) {
    fields.Refuse(*kwargs, absl::StrCat("at most ", kTemplateVariablesMax, " variables"));
    return;
  }
  for (const auto [key, value] : kwargs->members())
    prompt.template_variables.Set(key, TemplateValue::FromJson(value));
}

void ApplyReasoningEffort(FieldReader& fields, std::string_view key, ChatPrompt& prompt) {
  const std::optional<std::string> effort = fields.String(key);
  if (!effort.has_value()) return;
  constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                        "high", "xhigh",   "max"};
  if (std::find(kEfforts.begin(), kEfforts.end(), *effort) == kEfforts.end()) {
    fields.Refuse(*fields.Find(key), "none, minimal, low, medium, high, xhigh or max");
    return;
  }
  if (*effort == "none") {
    prompt.template_variables.Set("enable_thinking", TemplateValue::Bool(false));
  } else {
    prompt.template_variables.Set("reasoning_effort", StringValue(*effort));
  }
}

std::string ReadTextParts(FieldReader& fields, std::string_view key,
                          std::span<const std::string_view> types) {
  const std::optional<JsonValue> value = fields.Find(key);
  if (!value.has_value()) return {};
  if (value->is_string()) return std::string(*value->AsString());
  std::string text;
  if (!value->is_array()) fields.Refuse(*value, "a string or an array of parts");
  for (const JsonValue element : value->elements()) {
    FieldReader part(element, fields.status());
    const std::string type = part.RequiredString("type");
    if (!part.ok()) break;
    if (std::find(types.begin(), types.end(), type) == types.end()) {
      part.RefuseUnsupported("type", "this model reads text only");
    } else if (const std::optional<std::string> piece = part.String("text")) {
      text += *piece;
    } else {
      part.RefuseMissing("text", "a string");
    }
  }
  return text;
}

void ReadEachTool(FieldReader& fields, const RequestLimits& limits,
                  absl::FunctionRef<void(FieldReader& tool)> read) {
  const std::optional<JsonValue> tools = fields.Array("tools");
  if (!tools.has_value()) return;
  if (tools->size() > limits.tools_max) {
    fields.Refuse(*tools, absl::StrCat("at most ", limits.tools_max, " tools"));
    return;
  }
  for (const JsonValue element : tools->elements()) {
    FieldReader tool(element, fields.status());
    read(tool);
    if (!fields.ok()) return;
  }
}

ToolChoice ReadToolChoice(FieldReader& fields) {
  const std::optional<JsonValue> choice = fields.Find("tool_choice");
  if (!choice.has_value()) return ToolChoice::kAuto;
  const absl::StatusOr<std::string_view> word = choice->AsString();
  if (word.ok() && *word == "none") return ToolChoice::kNone;
  if (choice->is_object() || (word.ok() && *word == "required")) {
    fields.RefuseUnsupported("tool_choice", "a call cannot be forced yet; use auto or none");
  } else if (!word.ok() || *word != "auto") {
    fields.Refuse(*choice, "none, auto, required or an object");
  }
  return ToolChoice::kAuto;
}

void ReadFunction(FieldReader& function, std::string_view schema_key, GenerationRequest& request,
                  ValueList& shown) {
  ToolDefinition tool;
  tool.name = function.RequiredString("name");
  if (function.ok() && !IsFunctionName(tool.name)) {
    function.Refuse(*function.Find("name"),
                    "letters, digits, '_', '-', '.', ':' and '/', at most 128");
  }
  const std::optional<std::string> description = function.String("description");
  const std::optional<JsonValue> schema = function.Object(schema_key);
  if (function.Bool("strict").value_or(false))
    function.RefuseUnsupported("strict", "arguments cannot be held to a schema yet");
  if (!function.ok()) return;
  ValueMap shown_function;
  shown_function.Set("name", StringValue(tool.name));
  if (description.has_value()) shown_function.Set("description", StringValue(*description));
  if (schema.has_value()) {
    tool.parameters = TemplateValue::FromJson(*schema);
    shown_function.Set("parameters", tool.parameters);
  }
  ValueMap entry;
  entry.Set("type", StringValue("function"));
  entry.Set("function", TemplateValue::Dict(std::move(shown_function)));
  shown.push_back(TemplateValue::Dict(std::move(entry)));
  request.tools.push_back(std::move(tool));
}

void SetTools(ValueList shown, ToolChoice choice, GenerationRequest& request) {
  auto& prompt = std::get<ChatPrompt>(request.prompt);
  const bool in_force = choice == ToolChoice::kAuto && !shown.empty();
  request.tool_choice = in_force ? ToolChoice::kAuto : ToolChoice::kNone;
  prompt.tools = in_force ? TemplateValue::List(std::move(shown)) : TemplateValue::None();
  if (!in_force) request.tools.clear();
}

TemplateValue StringValue(std::string_view text) {
  return TemplateValue::String(std::string(text));
}

ValueMap MakeMessage(std::string_view role, std::string_view content) {
  ValueMap message;
  message.Set("role", StringValue(role));
  message.Set("content", StringValue(content));
  return message;
}

TemplateValue TurnMessage(std::string_view role, std::string_view content,
                          std::string_view reasoning, ValueList calls) {
  ValueMap message = MakeMessage(role, content);
  if (!reasoning.empty()) {
    message.Set("reasoning", StringValue(reasoning));
    message.Set("reasoning_content", StringValue(reasoning));
  }
  if (!calls.empty()) message.Set("tool_calls", TemplateValue::List(std::move(calls)));
  return TemplateValue::Dict(std::move(message));
}

TemplateValue MakeToolCall(std::string_view id, std::string_view name, TemplateValue arguments) {
  ValueMap function;
  function.Set("name", StringValue(name));
  function.Set("arguments", std::move(arguments));
  ValueMap call;
  call.Set("id", StringValue(id));
  call.Set("type", StringValue("function"));
  call.Set("function", TemplateValue::Dict(std::move(function)));
  return TemplateValue::Dict(std::move(call));
}

TemplateValue ReadArguments(const JsonValue& text, FieldReader& fields) {
  const absl::StatusOr<std::string_view> json = text.AsString();
  if (!json.ok()) {
    fields.Refuse(text, "a string of JSON");
    return {};
  }
  return ArgumentsValue(*json);
}

}  // namespace tessera::gateway
