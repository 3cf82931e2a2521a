#pragma once

// What every endpoint that generates asks for, whatever its dialect.
//
//   body --ReadChatRequest, ReadCompletionRequest, ReadMessagesRequest, ReadResponsesRequest-->
//   GenerationRequest --session: template, tokenizer, router-->

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/ids.h"
#include "common/wire/generation_wire.h"
#include "services/gateway/template/template_value.h"

namespace tessera::gateway {

enum class ApiDialect : uint8_t {
  kChat,        // POST /v1/chat/completions
  kCompletion,  // POST /v1/completions
  kMessages,    // POST /v1/messages (Anthropic)
  kResponses,   // POST /v1/responses
};

// What the request says about sampling; the rest comes from the model's generation_config.json.
// Values are checked against their ranges, ids of logit_bias against the vocabulary only by
// Resolve.
struct SamplingOverrides {
  std::optional<float> temperature;  // [0, 2]; 0: greedy
  std::optional<uint32_t> top_k;     // 0: all
  std::optional<float> top_p;        // (0, 1]
  std::optional<float> min_p;        // [0, 1]
  std::optional<float>
      repetition_penalty;  // [wire::kRepetitionPenaltyMin, wire::kRepetitionPenaltyMax]
  std::optional<float> presence_penalty;   // [-2, 2]
  std::optional<float> frequency_penalty;  // [-2, 2]
  std::optional<int64_t> seed;
  std::vector<std::pair<TokenId, float>> logit_bias;  // [-100, 100]; at most wire::kBiasMax
  std::vector<TokenId> allowed_token_ids;

  friend bool operator==(const SamplingOverrides&, const SamplingOverrides&) = default;
};

// `defaults` with what the request says put over them. kInvalidArgument with param "logit_bias",
// "allowed_token_ids" if one of their ids is not below `vocab_size`.
absl::StatusOr<wire::SamplingOptions> Resolve(const SamplingOverrides& overrides,
                                              const wire::SamplingOptions& defaults,
                                              uint32_t vocab_size);

enum class ToolChoice : uint8_t {
  kNone,  // no calls: the tools are not shown to the template, and nothing is parsed as a call
  kAuto,
};

struct ToolDefinition {
  std::string name;
  TemplateValue parameters;  // JSON Schema; undefined if the request has none
};

// A conversation, ready for ChatTemplate::Render.
struct ChatPrompt {
  TemplateValue messages;  // see TemplateMessages
  // [{"type":"function","function":{...}}] as templates want them; none without tools or with
  // tool_choice "none".
  TemplateValue tools;
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the last message is open: nothing closes it
  // chat_template_kwargs, and enable_thinking, reasoning_effort where the request says them.
  ValueMap template_variables;
};

// A text, or ids that are sent as they are.
using CompletionPrompt = std::variant<std::string, std::vector<TokenId>>;

// Parts of a /v1/responses request that its reply repeats, as JSON text.
struct ResponsesEcho {
  std::string instructions = "null";
  std::string tools = "[]";
  std::string tool_choice = "\"auto\"";
  std::string metadata = "{}";
};

// How a request of tensors wants its texts told: KServe's ModelInfer, see infer_tensors.h.
struct InferForm {
  std::string id;              // the caller's, told again; may be empty
  std::vector<int64_t> shape;  // of text_input, and so of every output
  bool want_text = true;
  bool want_reason = true;
  bool is_raw = false;  // contents came raw and go raw
};

struct GenerationRequest {
  ApiDialect dialect = ApiDialect::kChat;
  std::string model;
  std::variant<ChatPrompt, std::vector<CompletionPrompt>> prompt;  // the second for kCompletion

  SamplingOverrides sampling;
  uint32_t n = 1;                      // choices per prompt
  std::optional<uint32_t> tokens_max;  // absent: what the context leaves
  uint32_t tokens_min = 0;
  std::vector<std::string> stop;        // not empty, each
  std::vector<TokenId> stop_token_ids;  // at most wire::kStopTokensMax
  bool include_stop_in_output = false;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  std::optional<uint32_t> truncate_prompt_tokens;  // keep that many of the prompt's last tokens

  bool stream = false;
  bool include_usage = false;     // a chunk with the usage at the end
  bool continuous_usage = false;  // and with every chunk

  std::optional<uint32_t> logprobs;         // that many best beside each produced token
  std::optional<uint32_t> prompt_logprobs;  // the same for the prompt
  bool echo = false;                        // kCompletion: the prompt begins the text
  bool return_token_ids = false;
  bool return_routed_experts = false;
  bool degraded_allowed = false;  // answers may miss experts that died

  std::vector<ToolDefinition> tools;           // of which calls are parsed; empty with kNone
  ToolChoice tool_choice = ToolChoice::kNone;  // kAuto only with tools
  bool parallel_tool_calls = true;             // false: at most one call
  bool include_reasoning = true;               // false: reasoning is counted, not shown

  int32_t priority = 0;  // smaller goes first
  std::string cache_salt;
  std::string request_id;                 // empty: the gateway makes one
  std::optional<absl::Duration> timeout;  // over it: 504, or an error event
  std::string user;

  ResponsesEcho echoed;            // kResponses
  std::optional<InferForm> infer;  // kCompletion that was asked for as tensors

  const ChatPrompt& chat() const { return std::get<ChatPrompt>(prompt); }
  const std::vector<CompletionPrompt>& prompts() const {
    return std::get<std::vector<CompletionPrompt>>(prompt);
  }
};

}  // namespace tessera::gateway
