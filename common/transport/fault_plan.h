#pragma once

// Which frames of a loopback network suffer what: by rule, by seed, so that a run repeats.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/random.h"
#include "common/wire/expert_wire.h"

namespace tessera {

enum class FaultKind : uint8_t {
  kDrop,       // the frame never arrives
  kDelay,      // it arrives `delay` later, and another up to `jitter`
  kReorder,    // kDelay, 1 ms at least: what is sent meanwhile overtakes it
  kDuplicate,  // it arrives twice, the second time `delay` later
  kCorrupt,    // one bit of its payload (of its header, if there is none) is flipped
  kKill,       // the listener dies in place of taking the frame
};

enum class FrameDirection : uint8_t { kToListener, kFromListener };

// Applies to frames that fit all that is given.
struct FaultRule {
  FaultKind kind = FaultKind::kDrop;
  std::string listener;                     // of links to this address; empty: to any
  std::optional<FrameDirection> direction;  // none: both
  std::optional<wire::FrameType> type = wire::FrameType::kCall;  // none: every frame
  std::optional<uint16_t> layer;  // of calls and their answers; none: of every layer
  uint64_t skip = 0;              // fitting frames let pass first
  uint64_t count = std::numeric_limits<uint64_t>::max();  // frames to hit at most
  double probability = 1.0;                               // of hitting a fitting frame
  absl::Duration delay = absl::ZeroDuration();
  absl::Duration jitter = absl::ZeroDuration();
};

// What is to happen to one frame.
struct FaultDecision {
  bool drop = false;
  bool kill = false;
  bool duplicate = false;
  std::optional<uint64_t> corrupt_bit;  // to be taken modulo the frame's bits
  absl::Duration delay = absl::ZeroDuration();
  absl::Duration duplicate_delay = absl::ZeroDuration();

  bool harmless() const {
    return !drop && !kill && !duplicate && !corrupt_bit && delay == absl::ZeroDuration();
  }
};

// Thread-compatible.
class FaultPlan {
 public:
  explicit FaultPlan(uint64_t seed) : random_(seed) {}

  void Add(const FaultRule& rule) { rules_.push_back({rule, rule.skip, 0}); }
  void Clear() { rules_.clear(); }
  // Draws for one frame; several rules may hit it.
  FaultDecision Decide(const std::string& listener, FrameDirection direction,
                       const wire::FrameHeader& header);
  // Frames hit so far, by kind.
  uint64_t hits(FaultKind kind) const { return hits_[static_cast<size_t>(kind)]; }

 private:
  struct Rule {
    FaultRule rule;
    uint64_t skip_left;
    uint64_t hits;
  };
  Random random_;
  std::vector<Rule> rules_;
  uint64_t hits_[6] = {};
};

}  // namespace tessera
