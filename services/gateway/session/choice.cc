#include "services/gateway/session/choice.h"

#include <algorithm>
#include <utility>

namespace tessera::gateway {

Choice::Choice(const PreparedRequest& prepared, uint32_t index, const TextModel& model,
               OutputParserOptions parser_options)
    : prepared_(prepared),
      request_(prepared_.request),
      prompt_(prepared_.prompt_of(index)),
      model_(model),
      detokenizer_(model.tokenizer(), {.skip_special_tokens = request_.skip_special_tokens}),
      matcher_({.stops = request_.stop, .include_stop = request_.include_stop_in_output}) {
  if (request_.dialect == ApiDialect::kCompletion) return;
  parser_options.starts_in_reasoning = prompt_.starts_in_reasoning;
  parser_.emplace(std::move(parser_options));
}

ScoredToken Choice::Scored(TokenId id, float logprob, uint32_t rank) const {
  return {.id = id, .bytes = model_.BytesOf(id), .logprob = logprob, .rank = rank};
}

TokenLogprob Choice::LogprobOf(const wire::TokenOutput& token, uint32_t top_count) const {
  TokenLogprob result{.token = Scored(token.token, token.logprob.value_or(0), token.rank)};
  uint32_t rank = 1;
  for (const wire::TokenScore& score : token.top) {
    if (rank > top_count) break;
    result.top.push_back(Scored(score.token, score.logprob, rank++));
  }
  return result;
}

PromptReport Choice::Prompt(const wire::StartedEvent& started) const {
  PromptReport report;
  if (request_.return_token_ids) report.token_ids = prompt_.ids;
  if (request_.echo) report.text = prompt_.text;
  const uint32_t top_count = request_.prompt_logprobs.value_or(request_.logprobs.value_or(0));
  for (const wire::TokenOutput& token : started.prompt) {
    if (token.logprob.has_value()) {
      report.logprobs.emplace_back(LogprobOf(token, top_count));
    } else {
      report.logprobs.emplace_back(std::nullopt);
      report.first_token = model_.BytesOf(token.token);
    }
  }
  return report;
}

bool Choice::EndsGeneration(TokenId token) const {
  if (completion_tokens_ <= request_.tokens_min) return false;
  const auto& stops = request_.stop_token_ids;
  return (!request_.ignore_eos && model_.is_eos(token)) ||
         std::find(stops.begin(), stops.end(), token) != stops.end();
}

bool Choice::Push(const wire::TokensEvent& tokens) {
  for (const wire::TokenOutput& token : tokens.tokens) {
    if (has_ended_) break;
    PushToken(token);
  }
  return has_ended_;
}

void Choice::PushToken(const wire::TokenOutput& token) {
  ++completion_tokens_;
  if (parser_.has_value() && parser_->in_reasoning()) ++reasoning_tokens_;
  if (token.degraded) end_.degraded = true;
  if (request_.return_token_ids) next_.token_ids.push_back(token.token);
  if (request_.return_routed_experts) next_.routed_experts.push_back(token.routed_experts);
  last_stop_token_.reset();
  if (EndsGeneration(token.token)) {
    last_stop_token_ = token.token;
    // The token that ends the text is no part of it, unless it is asked for.
    if (!request_.include_stop_in_output) return;
  }
  if (request_.logprobs.has_value()) {
    next_.logprobs.push_back(LogprobOf(token, *request_.logprobs));
  }
  const std::string text = detokenizer_.Push(token.token);
  // Before tokens_min nothing may end the text.
  PushText(completion_tokens_ <= request_.tokens_min ? text : matcher_.Push(text));
  if (!matcher_.matched().has_value()) return;
  end_.stopped_by = *matcher_.matched();
  Close(FinishReason::kStop);
}

void Choice::PushText(std::string_view text) {
  if (text.empty()) return;
  std::vector<OutputEvent> events;
  if (parser_.has_value()) {
    parser_->Push(text, events);
  } else {
    events.push_back({.kind = OutputEvent::Kind::kContent, .text = std::string(text)});
  }
  for (OutputEvent& event : events) {
    if (event.kind == OutputEvent::Kind::kReasoning && !request_.include_reasoning) continue;
    AppendEvent(std::move(event), next_.events);
  }
}

void Choice::End(const wire::FinishedEvent& event) {
  if (has_ended_) return;
  PushText(matcher_.Push(detokenizer_.Flush()));
  if (matcher_.matched().has_value()) {
    end_.stopped_by = *matcher_.matched();
  } else {
    PushText(matcher_.Flush());
  }
  end_.degraded = end_.degraded || event.degraded;
  if (last_stop_token_.has_value() && !model_.is_eos(*last_stop_token_)) {
    end_.stopped_by = *last_stop_token_;
  }
  Close(event.kind == wire::FinishKind::kLength ? FinishReason::kLength : FinishReason::kStop);
}

void Choice::Close(FinishReason reason) {
  if (parser_.has_value()) {
    std::vector<OutputEvent> events;
    parser_->Flush(events);
    for (OutputEvent& event : events) {
      if (event.kind == OutputEvent::Kind::kReasoning && !request_.include_reasoning) continue;
      AppendEvent(std::move(event), next_.events);
    }
    // "length" beats both.
    if (reason == FinishReason::kStop && parser_->call_count() > 0) {
      reason = FinishReason::kToolCalls;
    }
  }
  end_.reason = reason;
  has_ended_ = true;
}

ChoiceStep Choice::TakeStep() {
  taken_ = std::exchange(next_, {});
  return {.events = taken_.events,
          .logprobs = taken_.logprobs,
          .token_ids = taken_.token_ids,
          .routed_experts = taken_.routed_experts};
}

}  // namespace tessera::gateway
