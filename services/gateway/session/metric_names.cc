#include "services/gateway/session/metric_names.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tessera::gateway {

absl::StatusOr<MetricAliases> AliasesFor(const std::string& compat) {
  if (compat == "none") return MetricAliases{};
  if (compat != "vllm") {
    return absl::InvalidArgumentError(
        absl::StrCat("metrics_compat is '", compat, "', expected none or vllm"));
  }
  MetricAliases aliases;
  for (const char* stem :
       {"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc",
        "prefix_cache_queries_total", "prefix_cache_hits_total", "num_preemptions_total",
        "prompt_tokens_total", "generation_tokens_total", "request_success_total",
        "time_to_first_token_seconds", "inter_token_latency_seconds",
        "request_time_per_output_token_seconds", "e2e_request_latency_seconds",
        "request_queue_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds",
        "request_prompt_tokens", "request_generation_tokens"}) {
    aliases.names.emplace_back(absl::StrCat("tessera_", stem), absl::StrCat("vllm:", stem));
  }
  aliases.labels = {{"engine", "0"}};
  return aliases;
}

}  // namespace tessera::gateway
