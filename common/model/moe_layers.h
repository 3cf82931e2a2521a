#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "common/model/model_spec.h"

namespace tessera {

// The layers whose MLP is made of experts, in ascending order.
inline std::vector<LayerIndex> MoeLayers(const ModelSpec& spec) {
  std::vector<LayerIndex> layers;
  for (size_t i = spec.dense_layer_count; i < spec.layer_count; ++i) {
    layers.push_back(LayerIndex{static_cast<uint32_t>(i)});
  }
  return layers;
}

}  // namespace tessera
