#pragma once

// Replies and event streams of the four dialects.
//
//   stream:      Begin -> (Push)* -> Finish, per choice, interleaved as they come; then End once
//   in one go:   ChoiceOutput per choice -> WriteReply

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "services/gateway/api/api_error.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/api/output.h"

namespace tessera::gateway {

// Under which name reasoning is sent to chat clients.
enum class ReasoningField : uint8_t {
  kDeepseek,    // reasoning_content
  kOpenrouter,  // reasoning
  kBoth,
  kNone,
};

// The same in every chunk of a reply.
struct ReplyHead {
  std::string id;          // see MakeReplyId
  std::string request_id;  // as the headers say; errors of a stream repeat it
  int64_t created_unix_s = 0;
  std::string model;               // the served name
  std::string system_fingerprint;  // empty: left out
  ReasoningField reasoning_field = ReasoningField::kDeepseek;
  uint32_t experts_per_token = 0;  // columns of routed_experts
  float temperature = 1;           // as resolved; /v1/responses repeats both
  float top_p = 1;
};

// "chatcmpl-", "cmpl-", "msg_" or "resp_" and `random` in 32 hexadecimal digits.
std::string MakeReplyId(ApiDialect dialect, uint64_t random_high, uint64_t random_low);

// Writes the events of one reply, each ending with an empty line. Every call appends to `out`.
// Owned by one thread.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;

  // First, once per choice; `prompt` is reported with choices that ask for it. `usage` knows the
  // prompt's tokens.
  virtual void Begin(uint32_t choice, const PromptReport& prompt, const Usage& usage,
                     std::string& out) = 0;
  // `usage` so far, for continuous_usage. Nothing is written if the step adds nothing.
  virtual void Push(uint32_t choice, const ChoiceStep& step, const Usage& usage,
                    std::string& out) = 0;
  // Last of a choice.
  virtual void Finish(uint32_t choice, const ChoiceEnd& end, const Usage& usage,
                      std::string& out) = 0;
  // After all choices: usage where asked for, and the end mark.
  virtual void End(const Usage& usage, std::string& out) = 0;
  // In place of what is left: an error event. Nothing may follow.
  virtual void Fail(const ApiError& error, std::string& out) = 0;
  // Keeps an idle connection open; to be called while nothing else is to be said.
  virtual void Ping(std::string& out) = 0;
};

// `request` and `head` are copied where needed. kMessages and kResponses have one choice, the
// others n times the prompts.
std::unique_ptr<StreamWriter> MakeStreamWriter(const GenerationRequest& request,
                                               const ReplyHead& head);

// The body of a reply that is not streamed; choices in order of their index.
std::string WriteReply(const GenerationRequest& request, const ReplyHead& head,
                       std::span<const ChoiceOutput> choices, const Usage& usage);

struct ModelInfo {
  std::string id;
  int64_t created_unix_s = 0;
  std::string owned_by = "tessera";
  uint32_t model_len_max = 0;  // tokens of context
};
std::string WriteModel(const ModelInfo& model);
std::string WriteModelList(std::span<const ModelInfo> models);

// `token_strs` is null unless asked for.
std::string WriteTokenizeReply(std::span<const TokenId> tokens,
                               const std::vector<std::string>* token_strs, uint32_t model_len_max);
std::string WriteDetokenizeReply(std::string_view text);
// POST /v1/messages/count_tokens.
std::string WriteCountTokensReply(uint32_t input_tokens);

}  // namespace tessera::gateway
