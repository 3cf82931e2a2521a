#include "services/gateway/session/gateway_metrics.h"

#include <string>
#include <vector>

namespace tessera::gateway {
namespace {

const std::vector<double> kFirstTokenBounds = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                               0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                               20,    40,    80,   160,  640,  2560};
const std::vector<double> kInterTokenBounds = {0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                               0.15,  0.2,   0.3,  0.4,   0.5,  0.75,  1,
                                               2.5,   5,     7.5,  10,    20,   40,    80};
const std::vector<double> kLatencyBounds = {0.05, 0.1, 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,
                                            15,   20,  30,  40,  50,  60, 120, 240, 480, 960, 1920};
const std::vector<double> kTokenBounds = {1,    2,    5,    10,    20,    50,    100,    200,   500,
                                          1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000};

}  // namespace

GatewayMetrics::GatewayMetrics(Registry& registry, const std::string& model_name) {
  const Registry::Labels labels = {{"model_name", model_name}};
  running = registry.AddGauge("tessera_num_requests_running",
                              "Choices of requests that a router works on; not those in the queue.",
                              labels);
  prompt_tokens = registry.AddCounter("tessera_prompt_tokens_total", "Tokens of prompts.", labels);
  prefix_queries = registry.AddCounter(
      "tessera_prefix_cache_queries_total",
      "Tokens of prompts whose computing began: those looked up in a prefix cache.", labels);
  prefix_hits = registry.AddCounter("tessera_prefix_cache_hits_total",
                                    "Tokens of prompts found in a prefix cache.", labels);
  generation_tokens = registry.AddCounter("tessera_generation_tokens_total",
                                          "Tokens produced, for aborted requests too.", labels);
  reasoning_tokens = registry.AddCounter("tessera_reasoning_tokens_total",
                                         "Tokens produced that were reasoning.", labels);
  parse_failures = registry.AddCounter("tessera_tool_parse_failures_total",
                                       "Calls of tools that could not be read.", labels);
  time_to_first_token = registry.AddHistogram("tessera_time_to_first_token_seconds",
                                              "From a request's arrival to its first token.",
                                              kFirstTokenBounds, labels);
  inter_token_latency =
      registry.AddHistogram("tessera_inter_token_latency_seconds",
                            "Between the tokens of a choice.", kInterTokenBounds, labels);
  time_per_output_token = registry.AddHistogram(
      "tessera_request_time_per_output_token_seconds",
      "Of a choice with at least two tokens: the mean time of those behind the first.",
      kInterTokenBounds, labels);
  request_latency =
      registry.AddHistogram("tessera_e2e_request_latency_seconds",
                            "From a request's arrival to its end.", kLatencyBounds, labels);
  queue_time = registry.AddHistogram("tessera_request_queue_time_seconds",
                                     "From a request's arrival until its prompt is begun.",
                                     kLatencyBounds, labels);
  prefill_time = registry.AddHistogram("tessera_request_prefill_time_seconds",
                                       "Of a prompt, on the router.", kLatencyBounds, labels);
  decode_time = registry.AddHistogram("tessera_request_decode_time_seconds",
                                      "Of the tokens behind the first, on the router.",
                                      kLatencyBounds, labels);
  prompt_token_count = registry.AddHistogram("tessera_request_prompt_tokens",
                                             "Prompt tokens of a request.", kTokenBounds, labels);
  generation_token_count = registry.AddHistogram(
      "tessera_request_generation_tokens", "Tokens a request produced.", kTokenBounds, labels);
  const auto with = [&labels](const char* name, const char* value) {
    Registry::Labels more = labels;
    more[name] = value;
    return more;
  };
  size_t i = 0;
  for (const char* reason : {"stop", "length", "tool_calls", "content_filter"}) {
    success[i++] = registry.AddCounter("tessera_request_success_total", "Choices that ended well.",
                                       with("finished_reason", reason));
  }
  i = 0;
  for (const char* cause : {"client", "deadline", "router", "refused", "internal"}) {
    aborts[i++] =
        registry.AddCounter("tessera_request_aborts_total",
                            "Requests that ended before their time.", with("cause", cause));
  }
}

}  // namespace tessera::gateway
