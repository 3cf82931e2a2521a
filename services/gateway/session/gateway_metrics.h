#pragma once

// What the gateway counts about requests: vLLM's stems, so that existing dashboards need one
// change.

#include <array>

#include "absl/time/time.h"
#include "common/metrics/metrics.h"
#include "services/gateway/api/output.h"

namespace tessera::gateway {

enum class AbortCause : uint8_t { kClient, kDeadline, kRouter, kRefused, kInternal };
inline constexpr size_t kAbortCauseCount = 5;

// Thread-safe; handles of a registry that outlives it.
struct GatewayMetrics {
  explicit GatewayMetrics(Registry& registry, const std::string& model_name);

  Gauge running;                                 // num_requests_running
  Counter prompt_tokens;                         // prompt_tokens_total
  Counter prefix_queries;                        // prefix_cache_queries_total, tokens
  Counter prefix_hits;                           // prefix_cache_hits_total, tokens
  Counter generation_tokens;                     // generation_tokens_total, of aborted requests too
  Counter reasoning_tokens;                      // reasoning_tokens_total
  Counter parse_failures;                        // tool_parse_failures_total
  Histogram time_to_first_token;                 // from the request's arrival
  Histogram inter_token_latency;                 // between tokens of a choice
  Histogram time_per_output_token;               // request_time_per_output_token_seconds
  Histogram request_latency;                     // e2e_request_latency_seconds
  Histogram queue_time;                          // request_queue_time_seconds
  Histogram prefill_time;                        // request_prefill_time_seconds
  Histogram decode_time;                         // request_decode_time_seconds
  Histogram prompt_token_count;                  // request_prompt_tokens
  Histogram generation_token_count;              // request_generation_tokens
  std::array<Counter, 4> success;                // request_success_total by finished_reason
  std::array<Counter, kAbortCauseCount> aborts;  // request_aborts_total by cause

  void CountSuccess(FinishReason reason) { success[static_cast<size_t>(reason)].Increment(); }
  void CountAbort(AbortCause cause) { aborts[static_cast<size_t>(cause)].Increment(); }
};

}  // namespace tessera::gateway
