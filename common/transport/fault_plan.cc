#include "common/transport/fault_plan.h"

#include <algorithm>

namespace tessera {

FaultDecision FaultPlan::Decide(const std::string& listener, FrameDirection direction,
                                const wire::FrameHeader& header) {
  FaultDecision decision;
  for (Rule& state : rules_) {
    const FaultRule& rule = state.rule;
    if (!rule.listener.empty() && rule.listener != listener) continue;
    if (rule.direction && *rule.direction != direction) continue;
    if (rule.type && *rule.type != header.type) continue;
    if (rule.layer && *rule.layer != header.layer) continue;
    if (state.hits >= rule.count) continue;
    if (state.skip_left > 0) {
      --state.skip_left;
      continue;
    }
    if (rule.probability < 1.0 && random_.Uniform() >= rule.probability) continue;
    ++state.hits;
    ++hits_[static_cast<size_t>(rule.kind)];
    const absl::Duration delay = rule.delay + rule.jitter * random_.Uniform();
    switch (rule.kind) {
      case FaultKind::kDrop:
        decision.drop = true;
        break;
      case FaultKind::kDelay:
        decision.delay += delay;
        break;
      case FaultKind::kReorder:
        decision.delay += std::max(delay, absl::Milliseconds(1));
        break;
      case FaultKind::kDuplicate:
        decision.duplicate = true;
        decision.duplicate_delay = delay;
        break;
      case FaultKind::kCorrupt:
        decision.corrupt_bit = random_.Bits();
        break;
      case FaultKind::kKill:
        decision.kill = true;
        break;
    }
  }
  return decision;
}

}  // namespace tessera
