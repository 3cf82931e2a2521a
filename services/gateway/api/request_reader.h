#pragma once

// Bodies of requests to structs. Unknown members are ignored; a wrong type or a value out of range
// is kInvalidArgument with the param; what is not JSON has the code "invalid_json"; what we do not
// do yet (schemas, required tools) has the code "unsupported". See api_error.h.

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/json/json.h"
#include "services/gateway/api/generation_request.h"

namespace tessera::gateway {

struct RequestLimits {
  // The depth is the reader's recursion; the values bound memory to 32 MB a million.
  JsonLimits json = {.bytes_max = size_t{32} << 20, .depth_max = 64, .values_max = size_t{4} << 20};
  uint32_t n_max = 128;           // choices per prompt
  uint32_t sequences_max = 1024;  // choices of a request in all
  uint32_t stops_max = 16;
  uint32_t stop_bytes_max = 1024;  // of one stop string
  uint32_t logprobs_max = 20;
  uint32_t tools_max = 1024;
  uint32_t messages_max = 65536;
};

// Each is one endpoint's body. The model may be absent, null or empty, which means the served one;
// whether it is served is the caller's question.
absl::StatusOr<GenerationRequest> ReadChatRequest(std::string_view body,
                                                  const RequestLimits& limits);
absl::StatusOr<GenerationRequest> ReadCompletionRequest(std::string_view body,
                                                        const RequestLimits& limits);
// Without max_tokens for /v1/messages/count_tokens: `count_only`.
absl::StatusOr<GenerationRequest> ReadMessagesRequest(std::string_view body,
                                                      const RequestLimits& limits,
                                                      bool count_only = false);
absl::StatusOr<GenerationRequest> ReadResponsesRequest(std::string_view body,
                                                       const RequestLimits& limits);
// By dialect, the four of them.
absl::StatusOr<GenerationRequest> ReadGenerationRequest(ApiDialect dialect, std::string_view body,
                                                        const RequestLimits& limits);

// POST /tokenize: a prompt, or messages.
struct TokenizeRequest {
  std::string model;  // may be empty: the served one
  std::variant<std::string, ChatPrompt> prompt;
  bool add_special_tokens = true;  // false by default for messages: the template writes them
  bool return_token_strs = false;
};
absl::StatusOr<TokenizeRequest> ReadTokenizeRequest(std::string_view body,
                                                    const RequestLimits& limits);

// POST /detokenize.
struct DetokenizeRequest {
  std::string model;
  std::vector<TokenId> tokens;
};
absl::StatusOr<DetokenizeRequest> ReadDetokenizeRequest(std::string_view body,
                                                        const RequestLimits& limits);

}  // namespace tessera::gateway
