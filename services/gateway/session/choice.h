#pragma once

// One choice of a request while its tokens come in.
//
//   token --detokenizer--> text --stop strings--> text --parsers--> events

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/text/incremental_detokenizer.h"
#include "common/wire/generation_wire.h"
#include "services/gateway/api/output.h"
#include "services/gateway/parse/output_parser.h"
#include "services/gateway/session/prepared_request.h"
#include "services/gateway/text/stop_matcher.h"
#include "services/gateway/text/text_model.h"

namespace tessera::gateway {

// Owned by the session's thread; borrows request and model.
class Choice {
 public:
  Choice(const PreparedRequest& prepared, uint32_t index, const TextModel& model,
         OutputParserOptions parser_options);

  // What the prompt says about itself, for choices that report it.
  PromptReport Prompt(const wire::StartedEvent& started) const;

  // Takes tokens in. True: a stop string ended the text, nothing more is wanted.
  bool Push(const wire::TokensEvent& tokens);
  // The router says how it ended. `event` is no error.
  void End(const wire::FinishedEvent& event);

  // What Push and End added since the last call. The spans live until the next Push or End.
  ChoiceStep TakeStep();

  bool has_ended() const { return has_ended_; }
  const ChoiceEnd& end() const { return end_; }
  uint32_t completion_tokens() const { return completion_tokens_; }
  uint32_t reasoning_tokens() const { return reasoning_tokens_; }
  uint32_t parse_failures() const { return parser_.has_value() ? parser_->failure_count() : 0; }

 private:
  void PushToken(const wire::TokenOutput& token);
  void PushText(std::string_view text);
  bool EndsGeneration(TokenId token) const;
  void Close(FinishReason reason);
  TokenLogprob LogprobOf(const wire::TokenOutput& token, uint32_t top_count) const;
  ScoredToken Scored(TokenId id, float logprob, uint32_t rank) const;

  const PreparedRequest& prepared_;
  const GenerationRequest& request_;
  const PreparedPrompt& prompt_;
  const TextModel& model_;
  IncrementalDetokenizer detokenizer_;
  StopMatcher matcher_;
  std::optional<OutputParser> parser_;  // none: text completions

  uint32_t completion_tokens_ = 0;
  uint32_t reasoning_tokens_ = 0;
  bool has_ended_ = false;
  ChoiceEnd end_;
  std::optional<TokenId> last_stop_token_;

  // Of the step under way, and of the one that was taken.
  struct Step {
    std::vector<OutputEvent> events;
    std::vector<TokenLogprob> logprobs;
    std::vector<TokenId> token_ids;
    std::vector<std::vector<uint16_t>> routed_experts;
  };
  Step next_;
  Step taken_;
};

}  // namespace tessera::gateway
