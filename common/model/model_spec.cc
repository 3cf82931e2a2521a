#include "common/model/model_spec.h"

namespace tessera {

ParameterCounts CountParameters(const ModelSpec& spec) {
  const uint64_t d = spec.d_model;
  // q, gate and o; k and v; the norms of q and k; the four norms of the layer.
  const uint64_t attention =
      3 * d * spec.query_width() + 2 * d * spec.kv_width() + 2 * spec.head_dim + 4 * d;
  const uint64_t expert = 3 * d * spec.expert_width;
  const uint64_t gate = spec.expert_count * d + spec.expert_count;
  const uint64_t shared = 3 * d * spec.shared_width();
  const uint64_t outside = (spec.tied_embeddings ? 1 : 2) * spec.vocab * d + d;

  ParameterCounts counts;
  counts.active = outside + spec.layer_count * attention +
                  spec.dense_layer_count * 3 * d * spec.dense_width +
                  spec.moe_layer_count() * (gate + shared + spec.top_k * expert);
  counts.total = counts.active + spec.moe_layer_count() * (spec.expert_count - spec.top_k) * expert;
  return counts;
}

}  // namespace tessera
