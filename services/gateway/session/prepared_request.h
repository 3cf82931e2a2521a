#pragma once

// From a request as it was parsed to what routers are asked: everything that can be wrong is found
// here, before anything is sent.
//
//   GenerationRequest --template, tokenizer, limits--> PreparedRequest

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/tracing/trace_context.h"
#include "common/wire/generation_wire.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/parse/reasoning_parser.h"
#include "services/gateway/parse/tool_parser.h"
#include "services/gateway/text/text_model.h"

namespace tessera::gateway {

struct PreparedPrompt {
  std::string text;  // rendered or as sent; of a prompt of ids only if it is echoed
  std::vector<TokenId> ids;
  uint32_t tokens_max = 0;  // to produce
  bool starts_in_reasoning = false;
};

struct PreparedRequest {
  GenerationRequest request;
  std::vector<PreparedPrompt> prompts;  // not empty
  wire::SamplingOptions sampling;       // resolved; the seed is the request's or absent
  std::optional<TraceContext> trace;    // the client's; set by whoever knows its headers

  uint32_t choice_count() const { return static_cast<uint32_t>(prompts.size()) * request.n; }
  const PreparedPrompt& prompt_of(uint32_t choice) const { return prompts[choice / request.n]; }
  uint32_t prompt_tokens() const;
  // Tokens a choice is taken to need, its prompt with it: as many as the request asks for, or
  // `reply_tokens_expected` of what the context has left if it does not say.
  uint32_t choice_tokens_expected(uint32_t choice, uint32_t reply_tokens_expected) const;
  // The same of all choices; a prompt counts once.
  uint64_t tokens_expected(uint32_t reply_tokens_expected) const;
};

struct PrepareOptions {
  ReasoningRule reasoning = ReasoningRule::kNone;
  uint32_t prompt_bytes_per_token_max = 512;  // more bytes than a context can hold are not encoded
};

// Errors, all kInvalidArgument: template errors, text that is not UTF-8, ids that are no tokens,
// context_length_exceeded.
absl::StatusOr<PreparedRequest> Prepare(GenerationRequest request, const TextModel& model,
                                        const PrepareOptions& options, absl::Time now);

// What a router is asked for one choice; without request id and deadline.
wire::GenerationParams ParamsOf(const PreparedRequest& prepared, uint32_t choice);

}  // namespace tessera::gateway
