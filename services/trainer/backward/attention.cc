#include "services/trainer/backward/attention.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "services/trainer/backward/gemm.h"

namespace tessera::trainer {
namespace {

constexpr size_t kQueries = 48;  // of a block
// Of a block's part, for the products that go row by row: fewer keys beyond the last query or
// before the first one's window are computed in vain.
constexpr size_t kPartQueries = 12;

size_t RoundUp(size_t n) { return (n + kPanelCols - 1) / kPanelCols * kPanelCols; }
// An odd number of cache lines, so that a column of scores spreads over the sets of the cache.
size_t ScoreStride(size_t keys) { return RoundUp(keys) | kPanelCols; }

// Queries [query, query + rows) of a document against keys [key, key + keys).
struct Block {
  size_t query;
  size_t rows;
  size_t key;  // a multiple of 16
  size_t keys;
  SoftmaxBand band;
};

Block BlockAt(const AttentionShape& shape, size_t tokens, size_t query) {
  Block block = {.query = query, .rows = std::min(kQueries, tokens - query), .key = 0, .keys = 0};
  if (shape.window > 0 && query + 1 > shape.window) {
    block.key = (query + 1 - shape.window) / kPanelCols * kPanelCols;
  }
  block.keys = query + block.rows - block.key;
  const auto offset = static_cast<ptrdiff_t>(query + 1) - static_cast<ptrdiff_t>(block.key);
  block.band = {.rows = block.rows,
                .cols = block.keys,
                .stride = ScoreStride(block.keys),
                .first = offset - static_cast<ptrdiff_t>(shape.window),
                .last = offset,
                .pinned = shape.window == 0};
  return block;
}

// Queries [row, row + rows) of a block and the keys [key, key + keys) they can see, from the
// block's first key on; key is a multiple of 16.
struct Part {
  size_t row;
  size_t rows;
  size_t key;
  size_t keys;
};

// Calls body(part) for all parts of a block.
template <typename Body>
void ForParts(const AttentionShape& shape, const Block& block, Body body) {
  for (size_t row = 0; row < block.rows; row += kPartQueries) {
    Part part = {.row = row, .rows = std::min(kPartQueries, block.rows - row), .key = 0, .keys = 0};
    const size_t query = block.query + row;
    if (shape.window > 0 && query + 1 > shape.window) {
      part.key = (query + 1 - shape.window) / kPanelCols * kPanelCols - block.key;
    }
    part.keys = query + part.rows - block.key - part.key;
    body(part);
  }
}

// One document and one head of keys.
template <typename T>
class HeadPass {
 public:
  HeadPass(const AttentionShape& shape, size_t begin, size_t end, size_t head,
           const AttentionInput<T>& in, const AttentionScratch<T>& scratch)
      : shape_(shape),
        begin_(begin),
        tokens_(end - begin),
        head_(head),
        in_(in),
        scratch_(scratch),
        scale_(static_cast<T>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)))) {
    const size_t d = shape.head_dim;
    PackPanelsTransposed(Key(0), in.key.stride, d, tokens_, scratch.keys_transposed);
    PackPanels(Value(0), in.value.stride, tokens_, d, scratch.values);
  }

  void Forward(size_t query_head, Strided<T> out, T* log_sums) {
    const size_t d = shape_.head_dim;
    std::array<T, kQueries> inverse;
    for (size_t query = 0; query < tokens_; query += kQueries) {
      const Block block = BlockAt(shape_, tokens_, query);
      Scores(query_head, block);
      SoftmaxForward(block.band, scale_, scratch_.scores, log_sums + begin_ + query,
                     inverse.data());
      T* to = out.row(begin_ + query) + query_head * d;
      RowProducts(block, scratch_.scores, scratch_.values, {to, out.stride});
      for (size_t r = 0; r < block.rows; ++r, to += out.stride) Scale(d, inverse[r], to, to);
    }
  }

  void PackBackward() {
    const size_t d = shape_.head_dim;
    PackPanels(Key(0), in_.key.stride, tokens_, d, scratch_.keys);
    PackPanelsTransposed(Value(0), in_.value.stride, d, tokens_, scratch_.values_transposed);
  }

  void Backward(size_t query_head, Strided<const T> out, const T* log_sums, Strided<const T> dout,
                const AttentionGradient<T>& gradient) {
    const size_t d = shape_.head_dim, column = query_head * d;
    std::array<T, kQueries> mean;
    for (size_t query = 0; query < tokens_; query += kQueries) {
      const Block block = BlockAt(shape_, tokens_, query);
      const size_t row = begin_ + query, stride = block.band.stride;
      Scores(query_head, block);
      SoftmaxAgain(block.band, scale_, log_sums + row, scratch_.scores);
      const T* up = dout.row(row) + column;
      KeyProducts(block, {up, dout.stride}, scratch_.values_transposed, scratch_.gradients);
      for (size_t r = 0; r < block.rows; ++r) {
        mean[r] = Dot(d, up + r * dout.stride, out.row(row + r) + column);
      }
      const size_t key = begin_ + block.key;
      Gemm(block.keys, d, block.rows, Transposed<T>(scratch_.scores, stride),
           RightRows(up, dout.stride), gradient.value.row(key) + head_ * d, gradient.value.stride,
           GemmMode::kAdd);
      SoftmaxBackward(block.band, scale_, scratch_.scores, mean.data(), scratch_.gradients);
      RowProducts(block, scratch_.gradients, scratch_.keys,
                  {gradient.query.row(row) + column, gradient.query.stride});
      Gemm(block.keys, d, block.rows, Transposed<T>(scratch_.gradients, stride),
           RightRows(in_.query.row(row) + column, in_.query.stride),
           gradient.key.row(key) + head_ * d, gradient.key.stride, GemmMode::kAdd);
    }
  }

 private:
  const T* Key(size_t token) const { return in_.key.row(begin_ + token) + head_ * shape_.head_dim; }
  const T* Value(size_t token) const {
    return in_.value.row(begin_ + token) + head_ * shape_.head_dim;
  }
  // to [block.rows, block.band.stride] = from [block.rows, head_dim] times a matrix [head_dim,
  // tokens] in panels, for the keys that each part of the block can see. Whole panels, which need
  // no masks; what else stands in `to` is never read.
  void KeyProducts(const Block& block, Strided<const T> from, const T* panels, T* to) const {
    const size_t d = shape_.head_dim, stride = block.band.stride;
    ForParts(shape_, block, [&](const Part& part) {
      Gemm(part.rows, RoundUp(part.keys), d, Rows(from.row(part.row), from.stride),
           Panels(panels + (block.key + part.key) * d, d), to + part.row * stride + part.key,
           stride, GemmMode::kSet);
    });
  }
  // to [block.rows, head_dim] = from [block.rows, block.band.stride] times a matrix [tokens,
  // head_dim] in panels, of the same keys.
  void RowProducts(const Block& block, const T* from, const T* panels, Strided<T> to) const {
    const size_t stride = block.band.stride;
    ForParts(shape_, block, [&](const Part& part) {
      Gemm(part.rows, shape_.head_dim, part.keys, Rows(from + part.row * stride + part.key, stride),
           Panels(panels + (block.key + part.key) * kPanelCols, tokens_), to.row(part.row),
           to.stride, GemmMode::kSet);
    });
  }
  void Scores(size_t query_head, const Block& block) {
    KeyProducts(
        block,
        {in_.query.row(begin_ + block.query) + query_head * shape_.head_dim, in_.query.stride},
        scratch_.keys_transposed, scratch_.scores);
  }

  const AttentionShape& shape_;
  const size_t begin_;
  const size_t tokens_;
  const size_t head_;
  const AttentionInput<T>& in_;
  const AttentionScratch<T>& scratch_;
  const T scale_;
};

}  // namespace

template <typename T>
void AttentionScratch<T>::Take(Slab<T>& slab, const AttentionShape& shape, size_t tokens_max) {
  scores = slab.Take(kQueries * ScoreStride(tokens_max));
  gradients = slab.Take(kQueries * ScoreStride(tokens_max));
  keys = slab.Take(PanelSize(tokens_max, shape.head_dim));
  keys_transposed = slab.Take(PanelSize(shape.head_dim, tokens_max));
  values = slab.Take(PanelSize(tokens_max, shape.head_dim));
  values_transposed = slab.Take(PanelSize(shape.head_dim, tokens_max));
}

template <typename T>
void AttentionForward(const AttentionShape& shape, std::span<const uint32_t> documents,
                      const AttentionInput<T>& in, Strided<T> out, Strided<T> log_sums,
                      const AttentionScratch<T>& scratch) {
  const size_t group = shape.query_heads / shape.kv_heads;
  for (size_t i = 0; i + 1 < documents.size(); ++i) {
    for (size_t head = 0; head < shape.kv_heads; ++head) {
      HeadPass<T> pass(shape, documents[i], documents[i + 1], head, in, scratch);
      for (size_t q = head * group; q < (head + 1) * group; ++q) {
        pass.Forward(q, out, log_sums.row(q));
      }
    }
  }
}

template <typename T>
void AttentionBackward(const AttentionShape& shape, std::span<const uint32_t> documents,
                       const AttentionInput<T>& in, Strided<const T> out, Strided<const T> log_sums,
                       Strided<const T> dout, const AttentionGradient<T>& gradient,
                       const AttentionScratch<T>& scratch) {
  const size_t group = shape.query_heads / shape.kv_heads;
  const size_t kv_width = shape.kv_heads * shape.head_dim;
  for (size_t t = documents.front(); t < documents.back(); ++t) {
    std::fill_n(gradient.key.row(t), kv_width, T{0});
    std::fill_n(gradient.value.row(t), kv_width, T{0});
  }
  for (size_t i = 0; i + 1 < documents.size(); ++i) {
    for (size_t head = 0; head < shape.kv_heads; ++head) {
      HeadPass<T> pass(shape, documents[i], documents[i + 1], head, in, scratch);
      pass.PackBackward();
      for (size_t q = head * group; q < (head + 1) * group; ++q) {
        pass.Backward(q, out, log_sums.row(q), dout, gradient);
      }
    }
  }
}

#define TESSERA_INSTANTIATE(T)                                                                     \
  template struct AttentionScratch<T>;                                                             \
  template void AttentionForward<T>(const AttentionShape&, std::span<const uint32_t>,              \
                                    const AttentionInput<T>&, Strided<T>, Strided<T>,              \
                                    const AttentionScratch<T>&);                                   \
  template void AttentionBackward<T>(const AttentionShape&, std::span<const uint32_t>,             \
                                     const AttentionInput<T>&, Strided<const T>, Strided<const T>, \
                                     Strided<const T>, const AttentionGradient<T>&,                \
                                     const AttentionScratch<T>&);
TESSERA_INSTANTIATE(float)
TESSERA_INSTANTIATE(double)
#undef TESSERA_INSTANTIATE

}  // namespace tessera::trainer
