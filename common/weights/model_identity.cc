#include "common/weights/model_identity.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <vector>

#include "common/base/random.h"
#include "common/base/status.h"

namespace tessera {
namespace {

constexpr size_t kSampledTensorsMax = 1024;
constexpr size_t kSampleBytes = 64;

class Hasher {
 public:
  void Add(uint64_t value) { state_ = MixBits(state_ ^ value) + 0x9e3779b97f4a7c15u; }
  void Add(std::span<const std::byte> bytes) {
    Add(bytes.size());
    for (size_t i = 0; i < bytes.size(); i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, std::min(sizeof(word), bytes.size() - i));
      Add(word);
    }
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0;
};

void AddSpec(const ModelSpec& spec, Hasher& hasher) {
  for (const uint64_t value :
       {spec.d_model, spec.layer_count, spec.dense_layer_count, spec.query_heads, spec.kv_heads,
        spec.head_dim, spec.dense_width, spec.expert_width, spec.expert_count, spec.top_k,
        spec.shared_expert_count, spec.vocab, spec.context_max, spec.sliding_window})
    hasher.Add(value);
  hasher.Add(std::bit_cast<uint64_t>(spec.rope_theta));
  hasher.Add(std::bit_cast<uint32_t>(spec.norm_eps));
  hasher.Add(std::bit_cast<uint32_t>(spec.route_scale));
  for (const bool value : {spec.route_normalize, spec.embedding_scaled, spec.tied_embeddings})
    hasher.Add(value ? 1 : 0);
  for (const LayerKind kind : spec.layer_kinds) hasher.Add(static_cast<uint64_t>(kind));
  hasher.Add(spec.quantization ? spec.quantization->block_rows : 0);
  hasher.Add(spec.quantization ? spec.quantization->block_cols : 0);
}

}  // namespace

absl::StatusOr<uint64_t> ModelIdentity(const ModelSpec& spec, const Checkpoint& checkpoint) {
  Hasher hasher;
  AddSpec(spec, hasher);
  std::vector<const StoredTensor*> by_name;
  for (const StoredTensor& tensor : checkpoint.tensors()) by_name.push_back(&tensor);
  std::sort(by_name.begin(), by_name.end(),
            [](const StoredTensor* a, const StoredTensor* b) { return a->name < b->name; });

  const size_t step = (by_name.size() + kSampledTensorsMax - 1) / kSampledTensorsMax;
  for (size_t i = 0; i < by_name.size(); ++i) {
    const StoredTensor& tensor = *by_name[i];
    hasher.Add(std::as_bytes(std::span(tensor.name)));
    hasher.Add(static_cast<uint64_t>(tensor.dtype));
    hasher.Add(std::as_bytes(std::span(tensor.shape)));
    if (i % step != 0) continue;
    const std::span<const std::byte> bytes = checkpoint.Bytes(tensor);
    const size_t sample = std::min(kSampleBytes, bytes.size());
    hasher.Add(bytes.subspan((bytes.size() - sample) / 2, sample));
  }
  TESSERA_RETURN_IF_ERROR(checkpoint.Verify());
  // Where the file is cached in large pieces, each sample mapped megabytes.
  checkpoint.ReleaseAll();
  return hasher.value();
}

}  // namespace tessera
