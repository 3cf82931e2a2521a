#pragma once

// Attention over a paged key-value cache, grouped queries, causal, optionally with a sliding
// window.

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/kernels/compute.h"
#include "common/tensor/matrix_view.h"

namespace tessera::kernels {

inline constexpr size_t kKvBlockTokens = 16;

enum class KvType : uint8_t { kF32, kBF16 };
inline size_t SizeOf(KvType type) { return type == KvType::kF32 ? 4 : 2; }

// Where the keys and values of one layer live. Block b starts at base + b * block_stride_bytes and
// holds
//   keys   [kv_heads][head_dim][16]   transposed: 16 tokens of one dimension lie together, so
//   scores need
//                                     no horizontal sums
//   values [kv_heads][16][head_dim]
struct KvLayerView {
  std::byte* base = nullptr;
  size_t block_stride_bytes = 0;
  size_t kv_heads = 0;
  size_t head_dim = 0;
  KvType type = KvType::kBF16;

  size_t values_offset_bytes() const { return kv_heads * head_dim * kKvBlockTokens * SizeOf(type); }
  size_t layer_block_bytes() const { return 2 * values_offset_bytes(); }
};

// One row of a step: a query at `position` of a sequence whose token t lies in block blocks[t /
// 16]. Blocks wholly behind the window may hold any number: they are not read.
struct AttentionRow {
  std::span<const uint32_t> blocks;
  uint32_t position = 0;
};

// Writes the keys and values of new tokens: k, v [rows, kv_heads * head_dim]. Two rows never name
// the same slot. Rounds to the cache's type.
void StoreKv(const Compute& compute, const KvLayerView& kv, std::span<const AttentionRow> rows,
             ConstMatrixView k, ConstMatrixView v);

// out.row(i) = softmax(q k^T / sqrt(head_dim) + mask) v over tokens max(0, position - window + 1)
// .. position (window 0: from 0). q, out [rows, query_heads * head_dim]; query head h reads kv head
// h / (query_heads / kv_heads). Rows of one sequence that follow each other are computed together.
// float32 inside; the bits of a row do not depend on its company nor on how the prompt was cut into
// chunks.
void PagedAttention(const Compute& compute, const KvLayerView& kv,
                    std::span<const AttentionRow> rows, ConstMatrixView q, size_t window,
                    MatrixView out);

// x *= sigmoid(gate), element by element: the output gate of AFMoE's attention.
void SigmoidGate(const Compute& compute, ConstMatrixView gate, MatrixView x);

}  // namespace tessera::kernels
