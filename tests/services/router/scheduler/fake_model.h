#pragma once

// A model whose next token is a hash of exactly those keys and values that the block tables point
// to, so that a wrong table, a shared block written twice, a block given back too early or a wrong
// prefix changes the tokens. Three layers, as in a real model each reads what the one below wrote:
// sliding, full, sliding.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "services/router/kv/kv_cache.h"
#include "services/router/sequence/sampled_token.h"
#include "services/router/sequence/step_batch.h"

namespace tessera::router {

inline constexpr TokenId kFakeVocab = 50;

inline uint64_t Fold(uint64_t hash, uint64_t value) { return MixBits(hash ^ MixBits(value)); }

// What the embedding of a token is; the salt takes part, so that tenants would notice each other.
inline uint64_t Embed(TokenId token, size_t position, const std::string& salt) {
  uint64_t hash = Fold(static_cast<uint64_t>(token), position);
  for (const char c : salt) hash = Fold(hash, static_cast<uint64_t>(c));
  return hash;
}

inline ModelSpec FakeSpec(size_t window, bool has_full, bool has_sliding) {
  ModelSpec spec;
  spec.kv_heads = 1;
  spec.head_dim = 2;
  spec.sliding_window = window;
  if (has_sliding) spec.layer_kinds.push_back(LayerKind::kSliding);
  if (has_full) spec.layer_kinds.push_back(LayerKind::kFull);
  if (has_sliding) spec.layer_kinds.push_back(LayerKind::kSliding);
  spec.layer_count = spec.layer_kinds.size();
  return spec;
}

// The same computation without blocks: the next token after `tokens`.
inline TokenId FakeNextToken(const ModelSpec& spec, std::span<const TokenId> tokens,
                             const std::string& salt) {
  std::vector<uint64_t> hidden;
  for (size_t i = 0; i < tokens.size(); ++i) hidden.push_back(Embed(tokens[i], i, salt));
  for (const LayerKind kind : spec.layer_kinds) {
    std::vector<uint64_t> out(hidden.size());
    for (size_t i = 0; i < hidden.size(); ++i) {
      const bool cut = kind == LayerKind::kSliding && i + 1 > spec.sliding_window;
      for (size_t j = cut ? i + 1 - spec.sliding_window : 0; j <= i; ++j) {
        out[i] = Fold(out[i], hidden[j]);
      }
    }
    hidden = out;
  }
  return static_cast<TokenId>(hidden.back() % kFakeVocab);
}

class FakeModel {
 public:
  FakeModel(const ModelSpec& spec, const KvCache& kv) : spec_(spec), kv_(kv) {
    for (const LayerKind kind : spec.layer_kinds) {
      const BlockCounts counts = kv.block_counts();
      const size_t blocks = kind == LayerKind::kFull ? counts.full : counts.sliding;
      content_.emplace_back(blocks * kBlockTokens, kPoison);
    }
  }

  // Writes keys and values of all rows and returns the tokens of batch.samples(). With `garbage`
  // other than 0 everything written is wrong, as after a failed step.
  std::vector<SampledToken> Run(const StepBatch& batch, uint64_t garbage = 0) {
    std::vector<uint64_t> hidden(batch.row_count());
    for (const StepBatch::Chunk& chunk : batch.chunks()) {
      for (size_t row = chunk.row_begin; row < chunk.row_begin + chunk.row_count; ++row) {
        hidden[row] =
            Embed(batch.token_ids()[row], batch.positions()[row], chunk.sequence->cache_salt());
        if (chunk.sequence->degraded()) hidden[row] ^= 0xdeadu;
        hidden[row] ^= garbage;
      }
    }
    for (size_t layer = 0; layer < content_.size(); ++layer) RunLayer(layer, batch, hidden);
    std::vector<SampledToken> sampled;
    for (const StepBatch::Sample& sample : batch.samples()) {
      const uint64_t value = hidden[batch.logits_rows()[sample.logits_index]];
      sampled.push_back({absl::OkStatus(), static_cast<TokenId>(value % kFakeVocab)});
    }
    return sampled;
  }

  // Blocks that nobody owns may be overwritten at any time: do it now.
  void PoisonFreeBlocks() {
    for (size_t layer = 0; layer < content_.size(); ++layer) {
      const KvGroup group =
          spec_.layer_kinds[layer] == LayerKind::kFull ? KvGroup::kFull : KvGroup::kSliding;
      for (size_t slot = 0; slot < content_[layer].size(); ++slot) {
        if (kv_.allocator(group).ref_count(static_cast<uint32_t>(slot / kBlockTokens)) == 0) {
          content_[layer][slot] = kPoison;
        }
      }
    }
  }

 private:
  static constexpr uint64_t kPoison = 0xbad0bad0bad0bad0u;

  void RunLayer(size_t layer, const StepBatch& batch, std::vector<uint64_t>& hidden) {
    const LayerKind kind = spec_.layer_kinds[layer];
    const auto rows = batch.attention_rows(kind);
    std::vector<uint64_t>& content = content_[layer];
    const auto slot = [](const kernels::AttentionRow& row, size_t position) {
      return size_t{row.blocks[position / kBlockTokens]} * kBlockTokens + position % kBlockTokens;
    };
    for (size_t i = 0; i < rows.size(); ++i) {
      content.at(slot(rows[i], rows[i].position)) = hidden[i];
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t position = rows[i].position;
      const bool cut = kind == LayerKind::kSliding && position + 1 > spec_.sliding_window;
      uint64_t out = 0;
      for (size_t j = cut ? position + 1 - spec_.sliding_window : 0; j <= position; ++j) {
        out = Fold(out, content.at(slot(rows[i], j)));
      }
      hidden[i] = out;
    }
  }

  const ModelSpec spec_;
  const KvCache& kv_;
  std::vector<std::vector<uint64_t>> content_;  // [layer][block * 16 + token]
};

}  // namespace tessera::router
