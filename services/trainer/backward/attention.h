#pragma once

// Attention of one packed row, document by document: no token sees another document. Scores are
// computed in blocks of queries and not kept; the way back computes them again from their sums.

#include <cstddef>
#include <cstdint>
#include <span>

#include "services/trainer/backward/row_kernels.h"
#include "services/trainer/backward/slab.h"

namespace tessera::trainer {

struct AttentionShape {
  size_t query_heads;
  size_t kv_heads;
  size_t head_dim;
  size_t window;  // keys a query sees, its own included; 0: all before it
};

// Heads lie beside each other in a row.
template <typename T>
struct AttentionInput {
  Strided<const T> query;  // [tokens, query_heads * head_dim]
  Strided<const T> key;    // [tokens, kv_heads * head_dim]
  Strided<const T> value;  // like key
};
template <typename T>
struct AttentionGradient {
  Strided<T> query;
  Strided<T> key;
  Strided<T> value;
};

// Memory of one thread for documents of up to `tokens_max`.
template <typename T>
struct AttentionScratch {
  T* scores;
  T* gradients;
  T* keys;             // panels of K
  T* keys_transposed;  // of K^T
  T* values;           // of V
  T* values_transposed;
  void Take(Slab<T>& slab, const AttentionShape& shape, size_t tokens_max);
};

// documents: where each begins, and the end of the last; ascending, and only their tokens are
// touched. out [tokens, query_heads * head_dim]; log_sums [query_heads, tokens] are for the way
// back.
template <typename T>
void AttentionForward(const AttentionShape& shape, std::span<const uint32_t> documents,
                      const AttentionInput<T>& in, Strided<T> out, Strided<T> log_sums,
                      const AttentionScratch<T>& scratch);
// Sets the gradients of all tokens of the documents.
template <typename T>
void AttentionBackward(const AttentionShape& shape, std::span<const uint32_t> documents,
                       const AttentionInput<T>& in, Strided<const T> out, Strided<const T> log_sums,
                       Strided<const T> dout, const AttentionGradient<T>& gradient,
                       const AttentionScratch<T>& scratch);

}  // namespace tessera::trainer
