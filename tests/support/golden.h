#pragma once

// The checkpoints of tests/golden with what the reference implementation computed on them.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"

namespace tessera::testing {

struct GoldenPrompt {
  std::vector<TokenId> ids;
  std::vector<TokenId> greedy;             // 24 tokens, end tokens ignored
  std::vector<std::vector<float>> logits;  // [position][vocab]
  // What the gate chose, per MoE layer (in ascending layer order): [position][top_k].
  struct LayerRouting {
    size_t layer = 0;
    std::vector<std::vector<float>> selected;  // expert ids as numbers
    std::vector<std::vector<float>> weights;
  };
  std::vector<LayerRouting> routing;
};

struct Golden {
  std::string model_dir;
  std::vector<GoldenPrompt> prompts;
};

inline constexpr const char* kGoldenNames[] = {"afmoe-tiny-f32", "afmoe-256x4-bf16"};

// Reads tests/golden/NAME.
absl::StatusOr<Golden> ReadGolden(const std::string& name);

}  // namespace tessera::testing
