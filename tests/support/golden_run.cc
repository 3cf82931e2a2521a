#include "tests/support/golden_run.h"

#include <algorithm>
#include <cmath>

namespace tessera::testing {

router::SequenceRequest GoldenRequest(const GoldenPrompt& prompt, uint64_t id) {
  router::SequenceRequest request;
  request.id = SequenceId{id};
  request.prompt = prompt.ids;
  request.sampling.temperature = 0;
  request.sampling.max_tokens = static_cast<uint32_t>(prompt.greedy.size());
  request.sampling.ignore_eos = true;
  request.wants_prompt_logits = true;
  return request;
}

float WorstError(const std::vector<std::vector<float>>& logits, const GoldenPrompt& prompt) {
  if (logits.size() != prompt.logits.size()) return INFINITY;
  float worst = 0;
  for (size_t t = 0; t < logits.size(); ++t) {
    if (logits[t].size() != prompt.logits[t].size()) return INFINITY;
    for (size_t v = 0; v < logits[t].size(); ++v) {
      const float error = std::fabs(logits[t][v] - prompt.logits[t][v]);
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  return worst;
}

float WorstError(const GoldenRun& run, const Golden& golden) {
  if (run.logits.size() != golden.prompts.size()) return INFINITY;
  float worst = 0;
  for (size_t i = 0; i < golden.prompts.size(); ++i) {
    worst = std::max(worst, WorstError(run.logits[i], golden.prompts[i]));
  }
  return worst;
}

std::string TestName(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

}  // namespace tessera::testing
