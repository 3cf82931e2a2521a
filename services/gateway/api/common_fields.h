#pragma once

// What several dialects spell alike. For the sources of this folder only.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/json/json.h"
#include "services/gateway/api/field_reader.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/api/request_reader.h"

namespace tessera::gateway {

inline constexpr uint32_t kTokensMax = INT32_MAX;  // of any number of tokens in a request

// kInvalidArgument with code "invalid_json".
absl::StatusOr<JsonDocument> ParseBody(std::string_view body, const RequestLimits& limits);

// temperature, top_p, top_k, min_p, the penalties, seed, logit_bias, allowed_token_ids; and refuses
// what would constrain the output (structured_outputs, guided_*).
void ReadSampling(FieldReader& fields, float temperature_max, SamplingOverrides& sampling);
// min_tokens, stop_token_ids, ignore_eos ... request_id: the names that are ours or vLLM's.
void ReadExtras(FieldReader& fields, const RequestLimits& limits, GenerationRequest& request);
// n, stop, stream, stream_options, user, prompt_logprobs: OpenAI's chat and completions.
void ReadOpenAiFields(FieldReader& fields, const RequestLimits& limits, GenerationRequest& request);
// What needs several fields at once: min_tokens against tokens_max, stream with prompt_logprobs.
void CheckTogether(FieldReader& fields, const RequestLimits& limits,
                   const GenerationRequest& request);

// A string, or up to stops_max of them; none empty.
std::vector<std::string> ReadStops(FieldReader& fields, std::string_view key,
                                   const RequestLimits& limits);
// chat_template_kwargs, reasoning_effort, add_generation_prompt, continue_final_message.
void ReadTemplateFields(FieldReader& fields, ChatPrompt& prompt);
// "none" switches thinking off, other words are handed to the template.
void ApplyReasoningEffort(FieldReader& fields, std::string_view key, ChatPrompt& prompt);

// A string, or an array of {"type": one of `types`, "text": a string} put together; "" if absent.
std::string ReadTextParts(FieldReader& fields, std::string_view key,
                          std::span<const std::string_view> types);

// Each element of "tools", of which there are at most tools_max.
void ReadEachTool(FieldReader& fields, const RequestLimits& limits,
                  absl::FunctionRef<void(FieldReader& tool)> read);
// "tool_choice" as OpenAI spells it; what would force a call is refused as unsupported.
ToolChoice ReadToolChoice(FieldReader& fields);
// What a tool is called and takes, from an object with `name`, `description` and a schema under
// `schema_key`. Adds it to `request.tools` and `shown`, in the form templates want.
void ReadFunction(FieldReader& function, std::string_view schema_key, GenerationRequest& request,
                  ValueList& shown);
// Puts tools and choice in force: nothing is shown or parsed without tools or with kNone.
void SetTools(ValueList shown, ToolChoice choice, GenerationRequest& request);

TemplateValue StringValue(std::string_view text);
// {"role": role, "content": content}
ValueMap MakeMessage(std::string_view role, std::string_view content);
// A message with what its author thought, as "reasoning" and "reasoning_content", and called; empty
// ones are left out.
TemplateValue TurnMessage(std::string_view role, std::string_view content,
                          std::string_view reasoning, ValueList calls);
// {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
TemplateValue MakeToolCall(std::string_view id, std::string_view name, TemplateValue arguments);
// Arguments as a string of JSON; see ArgumentsValue.
TemplateValue ReadArguments(const JsonValue& text, FieldReader& fields);

}  // namespace tessera::gateway
