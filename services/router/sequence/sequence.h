#pragma once

// One running generation: what was asked, what was produced, how far its keys and values are
// computed. Owned by the engine thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/tracing/trace_context.h"
#include "services/router/sequence/sampling_params.h"

namespace tessera::router {

enum class FinishReason : uint8_t {
  kNone,       // still running
  kStop,       // an end or stop token was produced (it is the last of produced())
  kLength,     // max_tokens or context_max reached
  kCancelled,  // the client went away
  kError,      // error() says why; a passed deadline is kDeadlineExceeded
};
std::string_view NameOf(FinishReason reason);  // "stop", "length", ...

// What a request brings.
struct SequenceRequest {
  SequenceId id{};
  std::vector<TokenId> prompt;    // not empty
  std::vector<TokenId> produced;  // of an earlier life (another router's); counts to max_tokens
  SamplingParams sampling;
  int32_t priority = 0;    // lower goes first, as in vLLM
  std::string cache_salt;  // prefixes are shared only between equal salts
  absl::Duration deadline = absl::InfiniteDuration();  // on Clock::Elapsed()
  bool wants_prompt_logits = false;                    // logits of every prompt position are asked
  bool wants_routed_experts = false;  // which experts each produced token came through
  bool uses_prefix_cache = true;      // reads and writes it
  bool degraded_allowed = false;      // may go on without experts that nobody holds
  std::optional<TraceContext> trace;  // of its span; only if sampled
};

inline constexpr uint32_t kNoBlock = 0xffffffffu;

// Where a sequence's keys and values lie; filled by kv/, read through StepBatch.
// Token t of a group lies in block table[t / 16]. A model without layers of a group leaves its
// table empty.
struct BlockTables {
  std::vector<uint32_t> full;
  std::vector<uint32_t> sliding;  // entries below sliding_begin were given back: kNoBlock
  size_t sliding_begin = 0;
  // How far the tokens are known to the prefix cache.
  size_t chained_blocks = 0;
  uint32_t chain_node = kNoBlock;
};

class Sequence {
 public:
  explicit Sequence(SequenceRequest request);
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  SequenceId id() const { return id_; }
  const SamplingParams& sampling() const { return sampling_; }
  int32_t priority() const { return priority_; }
  const std::string& cache_salt() const { return cache_salt_; }
  absl::Duration deadline() const { return deadline_; }
  bool wants_prompt_logits() const { return wants_prompt_logits_; }
  bool wants_routed_experts() const { return wants_routed_experts_; }
  bool uses_prefix_cache() const { return uses_prefix_cache_; }
  bool degraded_allowed() const { return degraded_allowed_; }
  const std::optional<TraceContext>& trace() const { return trace_; }

  // Prompt, then produced.
  std::span<const TokenId> tokens() const { return tokens_; }
  std::span<const TokenId> prompt() const { return tokens().first(prompt_count_); }
  std::span<const TokenId> produced() const { return tokens().subspan(prompt_count_); }
  size_t token_count() const { return tokens_.size(); }
  size_t prompt_count() const { return prompt_count_; }
  size_t produced_count() const { return tokens_.size() - prompt_count_; }

  // Tokens whose keys and values are in the cache; the next row computed is this position.
  size_t committed() const { return committed_; }
  size_t uncommitted_count() const { return tokens_.size() - committed_; }
  // Whether the row of the last token is to be sampled.
  bool wants_token() const { return produced_count() < sampling_.max_tokens; }
  // Prompt positions whose logits have been handed out (a recomputed prompt hands out none twice).
  size_t prompt_logits_done() const { return prompt_logits_done_; }
  // Prompt tokens that the prefix cache gave at the first admission (for the usage record).
  size_t cached_prompt_count() const { return cached_prompt_count_; }

  // End and stop tokens of this request, ascending; set when submitted.
  std::span<const TokenId> stop_ids() const { return stop_ids_; }
  bool is_stop(TokenId token) const;

  // How often tokens occur; kept only if the request has penalties, else empty.
  struct Occurrence {
    bool in_prompt = false;
    uint32_t produced_count = 0;
  };
  const absl::flat_hash_map<TokenId, Occurrence>& occurrences() const { return occurrences_; }

  // Some expert's answer was missing: from then on its keys and values never enter the prefix
  // cache. Set by the engine before Commit of the step.
  void MarkDegraded() { degraded_ = true; }
  bool degraded() const { return degraded_; }

  // From now on experts that nobody holds are left out for this sequence instead of waited for.
  // Only if degraded_allowed().
  void LeaveOutHomeless();
  bool leaves_out_homeless() const { return leaves_out_homeless_; }

  // When its first step began, on Clock::Elapsed(); -InfiniteDuration before.
  absl::Duration first_step_at() const { return first_step_at_; }
  void SetFirstStepAt(absl::Duration now) { first_step_at_ = now; }

  FinishReason finish_reason() const { return finish_reason_; }
  bool finished() const { return finish_reason_ != FinishReason::kNone; }
  const absl::Status& error() const { return error_; }

  // For the scheduler and kv/.
  BlockTables& tables() { return tables_; }
  const BlockTables& tables() const { return tables_; }
  void SetStopIds(std::span<const TokenId> eos_token_ids);
  void SetCommitted(size_t committed);
  void SetCachedPromptCount(size_t count) { cached_prompt_count_ = count; }
  void Append(TokenId token);
  void Finish(FinishReason reason, absl::Status error = absl::OkStatus());

 private:
  const SequenceId id_;
  const SamplingParams sampling_;
  const int32_t priority_;
  const std::string cache_salt_;
  const absl::Duration deadline_;
  const bool wants_prompt_logits_;
  const bool wants_routed_experts_;
  const bool uses_prefix_cache_;
  const bool degraded_allowed_;
  const std::optional<TraceContext> trace_;
  const size_t prompt_count_;

  std::vector<TokenId> tokens_;
  std::vector<TokenId> stop_ids_;
  absl::flat_hash_map<TokenId, Occurrence> occurrences_;
  size_t committed_ = 0;
  size_t prompt_logits_done_ = 0;
  size_t cached_prompt_count_ = 0;
  BlockTables tables_;
  bool degraded_ = false;
  bool leaves_out_homeless_ = false;
  absl::Duration first_step_at_ = -absl::InfiniteDuration();
  FinishReason finish_reason_ = FinishReason::kNone;
  absl::Status error_;
};

}  // namespace tessera::router
