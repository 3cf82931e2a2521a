#pragma once

// The whole model written down plainly: no cache, no batching, no kernels of ours, everything in
// float64. The oracle for engines on checkpoints for which nobody else has computed logits.

#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/model/model_spec.h"
#include "common/weights/manifest.h"

namespace tessera::testing {

// Logits of every position, [ids, vocab]. For small models: widens each weight it uses.
std::vector<std::vector<double>> ReferenceForward(const ModelSpec& spec,
                                                  const ModelManifest& manifest,
                                                  std::span<const TokenId> ids);

}  // namespace tessera::testing
