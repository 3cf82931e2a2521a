#include "services/router/sequence/sequence.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace tessera::router {

std::string_view NameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "unknown";
}

Sequence::Sequence(SequenceRequest request)
    : id_(request.id),
      sampling_(std::move(request.sampling)),
      priority_(request.priority),
      cache_salt_(std::move(request.cache_salt)),
      deadline_(request.deadline),
      wants_prompt_logits_(request.wants_prompt_logits),
      wants_routed_experts_(request.wants_routed_experts),
      uses_prefix_cache_(request.uses_prefix_cache),
      degraded_allowed_(request.degraded_allowed),
      trace_(request.trace),
      prompt_count_(request.prompt.size()),
      tokens_(std::move(request.prompt)) {
  if (sampling_.has_penalties()) {
    for (const TokenId token : tokens_) occurrences_[token].in_prompt = true;
  }
  SetStopIds({});
  for (const TokenId token : request.produced) Append(token);
}

bool Sequence::is_stop(TokenId token) const {
  return std::binary_search(stop_ids_.begin(), stop_ids_.end(), token);
}

void Sequence::SetStopIds(std::span<const TokenId> eos_token_ids) {
  stop_ids_ = sampling_.stop_token_ids;
  if (!sampling_.ignore_eos) {
    stop_ids_.insert(stop_ids_.end(), eos_token_ids.begin(), eos_token_ids.end());
  }
  std::sort(stop_ids_.begin(), stop_ids_.end());
  stop_ids_.erase(std::unique(stop_ids_.begin(), stop_ids_.end()), stop_ids_.end());
}

void Sequence::SetCommitted(size_t committed) {
  TESSERA_CHECK(committed <= tokens_.size());
  committed_ = committed;
  if (wants_prompt_logits_) {
    prompt_logits_done_ = std::max(prompt_logits_done_, std::min(committed, prompt_count_));
  }
}

void Sequence::LeaveOutHomeless() {
  TESSERA_CHECK(degraded_allowed_);
  leaves_out_homeless_ = true;
}

void Sequence::Append(TokenId token) {
  tokens_.push_back(token);
  if (sampling_.has_penalties()) ++occurrences_[token].produced_count;
}

void Sequence::Finish(FinishReason reason, absl::Status error) {
  TESSERA_CHECK(!finished());
  TESSERA_CHECK(reason != FinishReason::kNone);
  TESSERA_CHECK((reason == FinishReason::kError) == !error.ok());
  finish_reason_ = reason;
  error_ = std::move(error);
}

}  // namespace tessera::router
