#pragma once

// A small paged cache for the tests and benches of attention: sequences whose blocks lie in random
// order, everything not written full of NaN.

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/kernels/attention.h"
#include "tests/common/kernels/kernel_fixture.h"

namespace tessera::kernels {

struct CacheShape {
  size_t kv_heads = 1;
  size_t head_dim = 16;
  size_t query_heads = 1;
  KvType type = KvType::kF32;
};

class PagedCache {
 public:
  PagedCache(const CacheShape& shape, std::vector<size_t> lengths, uint64_t seed)
      : shape_(shape), lengths_(std::move(lengths)) {
    size_t blocks = 0;
    for (const size_t length : lengths_) blocks += BlocksOf(length);
    KvLayerView view = Describe(nullptr);
    view.block_stride_bytes = view.layer_block_bytes() + 64;
    bytes_.assign(blocks * view.block_stride_bytes + 64, std::byte{0xff});
    view_ = view;
    view_.base = bytes_.data() + 16;  // not aligned to a line
    std::vector<uint32_t> order(blocks);
    for (size_t i = 0; i < blocks; ++i) order[i] = static_cast<uint32_t>(i);
    Random random(seed);
    for (size_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
    size_t next = 0;
    for (const size_t length : lengths_) {
      tables_.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(next),
                           order.begin() + static_cast<std::ptrdiff_t>(next + BlocksOf(length)));
      next += BlocksOf(length);
      queries_.push_back(
          RandomMatrix(length, shape.query_heads * shape.head_dim, seed + next, 3.0));
      keys_.push_back(RandomMatrix(length, shape.kv_heads * shape.head_dim, seed + next + 1, 3.0));
      values_.push_back(RandomMatrix(length, shape.kv_heads * shape.head_dim, seed + next + 2));
    }
  }

  const KvLayerView& view() const { return view_; }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  std::vector<uint32_t>& table(size_t sequence) { return tables_[sequence]; }
  const Matrix& queries(size_t sequence) const { return queries_[sequence]; }
  const Matrix& keys(size_t sequence) const { return keys_[sequence]; }
  const Matrix& values(size_t sequence) const { return values_[sequence]; }
  size_t length(size_t sequence) const { return lengths_[sequence]; }
  size_t sequences() const { return lengths_.size(); }

  AttentionRow RowOf(size_t sequence, size_t position) const {
    return {.blocks = tables_[sequence], .position = static_cast<uint32_t>(position)};
  }

  // Writes tokens [begin, end) of a sequence.
  void Store(const Compute& compute, size_t sequence, size_t begin, size_t end) {
    std::vector<AttentionRow> rows;
    for (size_t t = begin; t < end; ++t) rows.push_back(RowOf(sequence, t));
    StoreKv(compute, view_, rows, keys_[sequence].view().Rows(begin, end - begin),
            values_[sequence].view().Rows(begin, end - begin));
  }
  void StoreAll(const Compute& compute) {
    for (size_t s = 0; s < sequences(); ++s) Store(compute, s, 0, lengths_[s]);
  }

  struct Place {
    size_t sequence;
    size_t position;
  };
  // One call for the queries at `places`.
  Matrix Attend(const Compute& compute, const std::vector<Place>& places, size_t window) const {
    std::vector<AttentionRow> rows;
    Matrix q(places.size(), shape_.query_heads * shape_.head_dim);
    Matrix out(places.size(), shape_.query_heads * shape_.head_dim);
    for (size_t i = 0; i < places.size(); ++i) {
      rows.push_back(RowOf(places[i].sequence, places[i].position));
      std::ranges::copy(queries_[places[i].sequence].row(places[i].position), q.row(i).begin());
    }
    PagedAttention(compute, view_, rows, q.view(), window, out.view());
    return out;
  }

 private:
  static size_t BlocksOf(size_t length) { return (length + kKvBlockTokens - 1) / kKvBlockTokens; }
  KvLayerView Describe(std::byte* base) const {
    return {.base = base,
            .block_stride_bytes = 0,
            .kv_heads = shape_.kv_heads,
            .head_dim = shape_.head_dim,
            .type = shape_.type};
  }

  CacheShape shape_;
  std::vector<size_t> lengths_;
  std::vector<std::byte> bytes_;
  KvLayerView view_;
  std::vector<std::vector<uint32_t>> tables_;
  std::vector<Matrix> queries_;
  std::vector<Matrix> keys_;
  std::vector<Matrix> values_;
};

}  // namespace tessera::kernels
