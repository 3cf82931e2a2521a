#include "services/gateway/session/prepared_request.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "services/gateway/api/api_error.h"

namespace tessera::gateway {
namespace {

// The request's field that holds the prompt.
std::string_view PromptParam(ApiDialect dialect) {
  switch (dialect) {
    case ApiDialect::kCompletion:
      return "prompt";
    case ApiDialect::kResponses:
      return "input";
    default:
      return "messages";
  }
}

absl::Status TooLong(const GenerationRequest& request, uint32_t context_max,
                     const std::string& what) {
  return ContextLengthExceeded(
      PromptParam(request.dialect),
      absl::StrCat("this model's context is ", context_max, " tokens; ", what));
}

absl::Status CheckBytes(const GenerationRequest& request, std::string_view text,
                        const TextModel& model, const PrepareOptions& options) {
  // Encoding megabytes only to refuse them would cost others their time.
  const uint64_t bytes_max = uint64_t{model.context_max()} * options.prompt_bytes_per_token_max;
  if (text.size() <= bytes_max || request.truncate_prompt_tokens.has_value()) {
    return absl::OkStatus();
  }
  return TooLong(request, model.context_max(),
                 absl::StrCat("the prompt has ", text.size(), " bytes"));
}

absl::StatusOr<PreparedPrompt> PrepareChat(const GenerationRequest& request, const TextModel& model,
                                           const PrepareOptions& options, absl::Time now) {
  const ChatPrompt& chat = request.chat();
  PreparedPrompt prompt;
  auto text = model.Render(chat, now);
  if (!text.ok()) return WithParam(text.status(), PromptParam(request.dialect));
  prompt.text = *std::move(text);
  TESSERA_RETURN_IF_ERROR(CheckBytes(request, prompt.text, model, options));
  auto ids = model.EncodeRendered(prompt.text);
  if (!ids.ok()) return WithParam(ids.status(), PromptParam(request.dialect));
  prompt.ids = *std::move(ids);
  prompt.starts_in_reasoning =
      StartsInReasoning(options.reasoning, prompt.text, chat.continue_final_message);
  return prompt;
}

absl::StatusOr<PreparedPrompt> PrepareText(const GenerationRequest& request,
                                           const CompletionPrompt& source, const TextModel& model,
                                           const PrepareOptions& options) {
  PreparedPrompt prompt;
  if (const auto* ids = std::get_if<std::vector<TokenId>>(&source)) {
    for (const TokenId id : *ids) {
      if (id < 0 || static_cast<uint32_t>(id) >= model.vocab_size()) {
        return BadRequest(
            "prompt", absl::StrCat("token id ", id, " is not in [0, ", model.vocab_size(), ")"));
      }
    }
    prompt.ids = *ids;
    if (request.echo) prompt.text = model.tokenizer().Decode(*ids);
    return prompt;
  }
  prompt.text = std::get<std::string>(source);
  TESSERA_RETURN_IF_ERROR(CheckBytes(request, prompt.text, model, options));
  auto ids = model.EncodeText(prompt.text);
  if (!ids.ok()) return WithParam(ids.status(), "prompt");
  prompt.ids = *std::move(ids);
  return prompt;
}

absl::Status Fit(const GenerationRequest& request, const TextModel& model, PreparedPrompt& prompt) {
  const uint32_t context = model.context_max();
  if (request.truncate_prompt_tokens.has_value() &&
      prompt.ids.size() > *request.truncate_prompt_tokens) {
    const size_t cut = prompt.ids.size() - *request.truncate_prompt_tokens;
    prompt.ids.erase(prompt.ids.begin(), prompt.ids.begin() + static_cast<ptrdiff_t>(cut));
  }
  const size_t size = prompt.ids.size();
  if (size == 0) {
    return BadRequest(PromptParam(request.dialect), "the prompt has no tokens");
  }
  const bool wants_tokens = !request.tokens_max.has_value() || *request.tokens_max > 0;
  if (size > context || (wants_tokens && size >= context)) {
    return TooLong(request, context, absl::StrCat("the prompt has ", size, " tokens"));
  }
  const uint32_t left = context - static_cast<uint32_t>(size);
  if (request.tokens_max.has_value() && *request.tokens_max > left) {
    return TooLong(request, context,
                   absl::StrCat("the prompt has ", size, " tokens and ", *request.tokens_max,
                                " more are asked for"));
  }
  prompt.tokens_max = request.tokens_max.value_or(left);
  return absl::OkStatus();
}

}  // namespace

uint32_t PreparedRequest::prompt_tokens() const {
  size_t count = 0;
  for (const PreparedPrompt& prompt : prompts) count += prompt.ids.size();
  return static_cast<uint32_t>(count);
}

uint32_t PreparedRequest::choice_tokens_expected(uint32_t choice,
                                                 uint32_t reply_tokens_expected) const {
  const PreparedPrompt& prompt = prompt_of(choice);
  return static_cast<uint32_t>(prompt.ids.size()) +
         std::min(prompt.tokens_max, request.tokens_max.value_or(reply_tokens_expected));
}

uint64_t PreparedRequest::tokens_expected(uint32_t reply_tokens_expected) const {
  uint64_t count = 0;
  for (uint32_t i = 0; i < choice_count(); ++i) {
    count += choice_tokens_expected(i, reply_tokens_expected);
    if (i % request.n > 0) count -= prompt_of(i).ids.size();
  }
  return count;
}

absl::StatusOr<PreparedRequest> Prepare(GenerationRequest request, const TextModel& model,
                                        const PrepareOptions& options, absl::Time now) {
  PreparedRequest prepared;
  TESSERA_ASSIGN_OR_RETURN(
      prepared.sampling, Resolve(request.sampling, model.sampling_defaults(), model.vocab_size()));
  for (const TokenId id : request.stop_token_ids) {
    if (id < 0 || static_cast<uint32_t>(id) >= model.vocab_size()) {
      return BadRequest("stop_token_ids",
                        absl::StrCat("token id ", id, " is not in [0, ", model.vocab_size(), ")"));
    }
  }
  if (request.dialect == ApiDialect::kCompletion) {
    for (const CompletionPrompt& source : request.prompts()) {
      TESSERA_ASSIGN_OR_RETURN(PreparedPrompt prompt, PrepareText(request, source, model, options));
      prepared.prompts.push_back(std::move(prompt));
    }
  } else {
    TESSERA_ASSIGN_OR_RETURN(PreparedPrompt prompt, PrepareChat(request, model, options, now));
    prepared.prompts.push_back(std::move(prompt));
  }
  for (PreparedPrompt& prompt : prepared.prompts) {
    TESSERA_RETURN_IF_ERROR(Fit(request, model, prompt));
  }
  prepared.request = std::move(request);
  return prepared;
}

wire::GenerationParams ParamsOf(const PreparedRequest& prepared, uint32_t choice) {
  const GenerationRequest& request = prepared.request;
  const PreparedPrompt& prompt = prepared.prompt_of(choice);
  wire::GenerationParams params;
  params.prompt = prompt.ids;
  params.sampling = prepared.sampling;
  // Choices of one request differ; the same request gives the same choices.
  const uint32_t sample = choice % request.n;
  if (params.sampling.seed.has_value() && sample > 0) {
    params.sampling.seed = MixBits(*params.sampling.seed ^ MixBits(sample));
  }
  params.tokens_max = prompt.tokens_max;
  params.tokens_min = std::min(request.tokens_min, prompt.tokens_max);
  params.stop_tokens = request.stop_token_ids;
  params.ignore_eos = request.ignore_eos;
  params.priority = request.priority;
  params.cache_salt = request.cache_salt;
  if (request.logprobs.has_value() || request.prompt_logprobs.has_value()) {
    params.logprobs = std::max(request.logprobs.value_or(0), request.prompt_logprobs.value_or(0));
  }
  params.want_prompt_logprobs =
      request.prompt_logprobs.has_value() || (request.echo && request.logprobs.has_value());
  params.want_routed_experts = request.return_routed_experts;
  params.degraded_allowed = request.degraded_allowed;
  return params;
}

}  // namespace tessera::gateway
