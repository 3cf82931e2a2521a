#include "services/trainer/backward/row_pass.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tessera::trainer {
namespace {

constexpr size_t kSpanTokens = 96;  // a span ends with the document that fills it
constexpr size_t kHeadBlock = 96;   // rows of the head that one thread takes at once
constexpr size_t kHeadRound = 768;  // rows whose logits exist at once
constexpr size_t kExpertsAtOnce = 4;
constexpr size_t kRouterRowsAtOnce = 64;

// Numbers of one layer's norms.
size_t NormStride(const ModelSpec& spec) { return 4 * spec.d_model + 2 * spec.head_dim; }

size_t Pieces(size_t count, size_t piece) { return (count + piece - 1) / piece; }

}  // namespace

PackedRow JoinRows(std::span<const PackedRow> rows) {
  PackedRow joined;
  joined.documents.push_back(0);
  joined.sequences.push_back(0);
  for (const PackedRow& row : rows) {
    const auto begin = static_cast<uint32_t>(joined.ids.size());
    joined.ids.insert(joined.ids.end(), row.ids.begin(), row.ids.end());
    joined.targets.insert(joined.targets.end(), row.targets.begin(), row.targets.end());
    for (size_t i = 1; i < row.documents.size(); ++i) {
      joined.documents.push_back(begin + row.documents[i]);
    }
    joined.sequences.push_back(static_cast<uint32_t>(joined.ids.size()));
  }
  return joined;
}

template <typename T>
RowPass<T>::RowPass(const ParameterLayout& layout, size_t tokens_max, ThreadPool* pool)
    : layout_(layout),
      tokens_max_(tokens_max),
      pool_(pool),
      scratch_(pool ? pool->thread_count() : 1) {}

template <typename T>
void RowPass<T>::Arrange(Slab<T>& slab) {
  const ModelSpec& spec = layout_.spec;
  const size_t rows = tokens_max_ * spec.d_model, round = std::min(tokens_max_, kHeadRound);
  attention_.clear();
  mlp_.clear();
  hidden_.assign(2 * spec.layer_count + 1, nullptr);
  for (T*& hidden : hidden_) hidden = slab.Take(rows);
  for (size_t i = 0; i < spec.layer_count; ++i) {
    attention_.emplace_back(spec, i, tokens_max_, slab);
    mlp_.emplace_back(spec, i, tokens_max_, slab);
  }
  dx_ = slab.Take(rows);
  cosines_ = slab.Take(tokens_max_ * spec.head_dim / 2);
  sines_ = slab.Take(tokens_max_ * spec.head_dim / 2);
  head_rows_ = slab.Take(round * spec.d_model);
  head_normed_ = slab.Take(round * spec.d_model);
  head_drows_ = slab.Take(round * spec.d_model);
  head_inverse_ = slab.Take(round);
  logits_ = slab.Take(round * spec.vocab);
  head_norms_ = slab.Take(Pieces(round, kHeadBlock) * spec.d_model);
  norms_ = slab.Take(Pieces(tokens_max_, kSpanTokens) * spec.layer_count * NormStride(spec));
  attention_rows_.Take(slab, spec, tokens_max_);
  mlp_rows_.Take(slab, spec, tokens_max_);
  for (ThreadScratch& scratch : scratch_) {
    scratch.attention.Take(slab, {spec.query_heads, spec.kv_heads, spec.head_dim, 0}, tokens_max_);
    if (spec.moe_layer_count() > 0) scratch.moe.Take(slab, spec);
  }
}

template <typename T>
void RowPass<T>::FillAngles() {
  const ModelSpec& spec = layout_.spec;
  const size_t half = spec.head_dim / 2;
  for (size_t j = 0; j < half; ++j) {
    const double frequency = std::pow(
        spec.rope_theta, -2.0 * static_cast<double>(j) / static_cast<double>(spec.head_dim));
    for (size_t position = 0; position < tokens_max_; ++position) {
      const double angle = static_cast<double>(position) * frequency;
      cosines_[position * half + j] = static_cast<T>(std::cos(angle));
      sines_[position * half + j] = static_cast<T>(std::sin(angle));
    }
  }
}

template <typename T>
absl::StatusOr<std::unique_ptr<RowPass<T>>> RowPass<T>::Create(const ParameterLayout& layout,
                                                               size_t tokens_max,
                                                               ThreadPool* pool) {
  std::unique_ptr<RowPass> pass(new RowPass(layout, tokens_max, pool));
  Slab<T> measure;
  pass->Arrange(measure);
  TESSERA_ASSIGN_OR_RETURN(pass->slab_, Slab<T>::Allocate(measure.taken()));
  pass->Arrange(pass->slab_);
  pass->FillAngles();
  return pass;
}

template <typename T>
void RowPass<T>::ForEach(size_t count, ForItem body) {
  if (!pool_) {
    for (size_t i = 0; i < count; ++i) body(i, scratch_[0]);
    return;
  }
  pool_->ParallelFor(count, 1, [&](size_t begin, size_t end, size_t worker) {
    for (size_t i = begin; i < end; ++i) body(i, scratch_[worker]);
  });
}

template <typename T>
void RowPass<T>::ForEachSpan(ForSpan body) {
  ForEach(spans_.size(),
          [&](size_t i, const ThreadScratch& scratch) { body(spans_[order_[i]], scratch); });
}

template <typename T>
RowFrame<T> RowPass<T>::Begin(const PackedRow& row, const WeightView<T>& weights, bool balance) {
  TESSERA_CHECK(!row.ids.empty() && row.ids.size() <= tokens_max_);
  TESSERA_CHECK(row.targets.size() == row.ids.size() && row.documents.back() == row.ids.size());
  const std::span<const uint32_t> documents = row.documents;
  spans_.clear();
  for (size_t first = 0, i = 1; i < documents.size(); ++i) {
    const bool is_last = i + 1 == documents.size();
    if (!is_last && documents[i] - documents[first] < kSpanTokens) continue;
    spans_.push_back({.index = spans_.size(),
                      .begin = documents[first],
                      .end = documents[i],
                      .documents = documents.subspan(first, i + 1 - first)});
    first = i;
  }
  order_.resize(spans_.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::ranges::stable_sort(order_, std::greater<>(), [&](size_t i) { return spans_[i].size(); });
  whole_ = {0, static_cast<uint32_t>(row.ids.size())};
  RowFrame<T> frame = {layout_, weights, row.ids.size(), cosines_, sines_, {}};
  if (balance) frame.sequences = row.sequences.empty() ? whole_ : row.sequences;
  return frame;
}

template <typename T>
NormGradients<T> RowPass<T>::NormsOf(const RowSpan& span, size_t layer) const {
  const size_t d = layout_.spec.d_model;
  T* at = norms_ + (span.index * layout_.spec.layer_count + layer) * NormStride(layout_.spec);
  return {at, at + d, at + 2 * d, at + 3 * d, at + 4 * d, at + 4 * d + layout_.spec.head_dim};
}

template <typename T>
void RowPass<T>::Embed(const PackedRow& row, const RowFrame<T>& frame, const RowSpan& span) {
  const ModelSpec& spec = layout_.spec;
  const T* embeddings = frame.weights.values + layout_.embeddings;
  const double scale = spec.embedding_scaled ? std::sqrt(static_cast<double>(spec.d_model)) : 1.0;
  for (size_t t = span.begin; t < span.end; ++t) {
    Scale(spec.d_model, static_cast<T>(scale),
          embeddings + static_cast<size_t>(row.ids[t]) * spec.d_model,
          hidden_[0] + t * spec.d_model);
  }
}

template <typename T>
void RowPass<T>::Forward(const PackedRow& row, const RowFrame<T>& frame) {
  const size_t layers = layout_.spec.layer_count;
  // `from` is the first layer not begun, `to` the next one with experts.
  for (size_t from = 0, to = 0;; from = to + 1) {
    to = from;
    while (to < layers && !mlp_[to].moe()) ++to;
    ForEachSpan([&](const RowSpan& span, const ThreadScratch& scratch) {
      const auto finish = [&](size_t i) {
        mlp_[i].ForwardFromExperts(frame, span, hidden_[2 * i + 1], hidden_[2 * i + 2], mlp_rows_);
      };
      from == 0 ? Embed(row, frame, span) : finish(from - 1);
      for (size_t i = from; i < std::min(to + 1, layers); ++i) {
        attention_[i].Forward(frame, span, hidden_[2 * i], hidden_[2 * i + 1], attention_rows_,
                              scratch.attention);
        mlp_[i].ForwardToExperts(frame, span, hidden_[2 * i + 1], mlp_rows_);
        if (i < to) finish(i);
      }
    });
    if (to == layers) return;
    Moe<T>& moe = *mlp_[to].moe();
    moe.Sort(frame, mlp_rows_.moe);
    const size_t experts = layout_.spec.expert_count;
    ForEach(Pieces(experts, kExpertsAtOnce), [&](size_t piece, const ThreadScratch& scratch) {
      const size_t begin = piece * kExpertsAtOnce;
      for (size_t e = begin; e < std::min(begin + kExpertsAtOnce, experts); ++e) {
        moe.ExpertForward(frame, e, mlp_[to].h(), mlp_rows_.moe, scratch.moe);
      }
    });
  }
}

template <typename T>
RowLoss RowPass<T>::Run(const PackedRow& row, const WeightView<T>& weights,
                        const LossOptions& options, T* gradients) {
  const RowFrame<T> frame = Begin(row, weights, options.balance_weight > 0);
  Forward(row, frame);
  RowLoss loss = Loss(row, frame, options, gradients);
  Backward(frame, static_cast<T>(options.balance_weight), gradients);
  EmbeddingBackward(row, gradients);
  return loss;
}

template <typename T>
RowLoss RowPass<T>::Evaluate(const PackedRow& row, const WeightView<T>& weights,
                             const LossOptions& options) {
  const RowFrame<T> frame = Begin(row, weights, options.balance_weight > 0);
  Forward(row, frame);
  return Loss(row, frame, options, nullptr);
}

template <typename T>
RowLoss RowPass<T>::Loss(const PackedRow& row, const RowFrame<T>& frame, const LossOptions& options,
                         T* gradients) {
  const size_t d = layout_.spec.d_model;
  RowLoss loss;
  for (MlpBlock<T>& block : mlp_) {
    if (!block.moe()) continue;
    loss.counts.push_back(block.moe()->counts());
    loss.balance += block.moe()->balance();
  }
  std::vector<uint32_t> tokens;
  for (size_t t = 0; t < frame.tokens; ++t) {
    if (row.targets[t] != PackedRow::kNoLoss) tokens.push_back(static_cast<uint32_t>(t));
  }
  if (gradients) {
    std::fill_n(dx_, frame.tokens * d, T{0});
    std::fill_n(gradients + layout_.final_norm, d, T{0});
    if (tokens.empty()) std::fill_n(gradients + layout_.head.offset, layout_.head.out * d, T{0});
  }
  for (size_t first = 0; first < tokens.size(); first += kHeadRound) {
    const auto round =
        std::span(tokens).subspan(first, std::min(kHeadRound, tokens.size() - first));
    std::vector<HeadBlock> blocks;
    for (size_t at = 0; at < round.size(); at += kHeadBlock) {
      blocks.push_back({.index = blocks.size(),
                        .tokens = round.subspan(at, std::min(kHeadBlock, round.size() - at)),
                        .at = at,
                        .loss = {}});
    }
    ForEach(blocks.size(), [&](size_t i, const ThreadScratch&) {
      RunHead(frame, row, options, gradients != nullptr, blocks[i]);
    });
    for (const HeadBlock& block : blocks) {
      loss.cross_entropy += block.loss.cross_entropy;
      loss.log_sum_square += block.loss.log_sum_square;
      loss.tokens += block.loss.tokens;
      loss.hits += block.loss.hits;
      if (!gradients) continue;
      AddScaled(d, T{1}, head_norms_ + block.index * d, gradients + layout_.final_norm);
    }
    if (!gradients) continue;
    std::vector<WeightGradient<T>> products;
    AppendGradient<T>(layout_.head, round.size(), logits_, head_normed_, products,
                      first == 0 ? GemmMode::kSet : GemmMode::kAdd);
    ForEach(products.size(),
            [&](size_t i, const ThreadScratch&) { ComputeGradient(products[i], gradients); });
  }
  return loss;
}

template <typename T>
void RowPass<T>::RunHead(const RowFrame<T>& frame, const PackedRow& row, const LossOptions& options,
                         bool backward, HeadBlock& block) {
  const ModelSpec& spec = layout_.spec;
  const size_t d = spec.d_model, vocab = spec.vocab, n = block.tokens.size();
  const NormArgs<T> norm = {n, d, frame.weights.values + layout_.final_norm, spec.norm_eps};
  T *rows = head_rows_ + block.at * d, *normed = head_normed_ + block.at * d;
  T *drows = head_drows_ + block.at * d, *all_logits = logits_ + block.at * vocab;
  T* inverse = head_inverse_ + block.at;
  for (size_t r = 0; r < n; ++r) {
    std::copy_n(hidden_.back() + block.tokens[r] * d, d, rows + r * d);
  }
  NormForward<T>(norm, {rows, d}, {normed, d}, inverse);
  LinearForward(layout_.head, frame.weights, n, normed, all_logits);
  RowLoss& loss = block.loss;
  for (size_t r = 0; r < n; ++r) {
    const auto target = static_cast<size_t>(row.targets[block.tokens[r]]);
    const TokenLoss<T> token = LossRow(vocab, target, static_cast<T>(options.token_weight),
                                       static_cast<T>(options.z_weight), all_logits + r * vocab);
    loss.hits += token.hit ? 1 : 0;
    loss.cross_entropy += static_cast<double>(token.cross_entropy);
    loss.log_sum_square += static_cast<double>(token.log_sum) * static_cast<double>(token.log_sum);
  }
  loss.tokens = n;
  if (!backward) return;
  T* norm_gradient = head_norms_ + block.index * d;
  std::fill_n(norm_gradient, d, T{0});
  LinearBackInput(layout_.head, frame.weights, n, all_logits, drows);
  NormBackward<T>(norm, {rows, d}, inverse, {drows, d}, {drows, d}, false, norm_gradient);
  for (size_t r = 0; r < n; ++r) std::copy_n(drows + r * d, d, dx_ + block.tokens[r] * d);
}

template <typename T>
void RowPass<T>::Backward(const RowFrame<T>& frame, T balance_weight, T* gradients) {
  const size_t layers = layout_.spec.layer_count;
  std::fill_n(norms_, spans_.size() * layers * NormStride(layout_.spec), T{0});
  // Between `layer` - 1 and `layer`: the rest of the upper one, the lower one down to its experts.
  for (size_t layer = layers + 1; layer-- > 0;) {
    ForEachSpan([&](const RowSpan& span, const ThreadScratch& scratch) {
      if (layer < layers) {
        const NormGradients<T> norms = NormsOf(span, layer);
        mlp_[layer].BackwardFromExperts(frame, span, hidden_[2 * layer + 1], balance_weight, dx_,
                                        norms, mlp_rows_);
        attention_[layer].Backward(frame, span, hidden_[2 * layer], dx_, norms, attention_rows_,
                                   scratch.attention);
      }
      if (layer > 0) {
        mlp_[layer - 1].BackwardToExperts(frame, span, dx_, NormsOf(span, layer - 1), mlp_rows_);
      }
    });
    WeightGradients(frame, layer, balance_weight > 0, gradients);
  }
  SumNorms(gradients);
}

template <typename T>
void RowPass<T>::WeightGradients(const RowFrame<T>& frame, size_t layer, bool balance,
                                 T* gradients) {
  const size_t layers = layout_.spec.layer_count, count = layout_.spec.expert_count;
  std::vector<WeightGradient<T>> products;
  if (layer > 0) mlp_[layer - 1].AppendGradients(frame, mlp_rows_, products);
  if (layer < layers) attention_[layer].AppendGradients(frame, attention_rows_, products);
  Moe<T>* const above = layer < layers ? mlp_[layer].moe() : nullptr;
  Moe<T>* const below = layer > 0 ? mlp_[layer - 1].moe() : nullptr;
  const size_t router_end = products.size() + (above ? Pieces(count, kRouterRowsAtOnce) : 0);
  const size_t end = router_end + (below ? Pieces(count, kExpertsAtOnce) : 0);
  ForEach(end, [&](size_t item, const ThreadScratch& scratch) {
    if (item < products.size()) return ComputeGradient(products[item], gradients);
    if (item < router_end) {
      const size_t begin = (item - products.size()) * kRouterRowsAtOnce;
      return above->RouterGradient(frame, begin, std::min(begin + kRouterRowsAtOnce, count),
                                   mlp_[layer].h(), balance, gradients, mlp_rows_.moe);
    }
    const size_t begin = (item - router_end) * kExpertsAtOnce;
    for (size_t e = begin; e < std::min(begin + kExpertsAtOnce, count); ++e) {
      below->ExpertBackward(frame, e, mlp_[layer - 1].h(), mlp_rows_.dm, gradients, mlp_rows_.moe,
                            scratch.moe);
    }
  });
}

template <typename T>
void RowPass<T>::SumNorms(T* gradients) const {
  const size_t d = layout_.spec.d_model, head_dim = layout_.spec.head_dim;
  for (size_t i = 0; i < layout_.layers.size(); ++i) {
    const LayerParameters& layer = layout_.layers[i];
    for (const RowSpan& span : spans_) {
      const NormGradients<T> norms = NormsOf(span, i);
      const auto add = [&](size_t offset, const T* from, size_t n) {
        if (span.index == 0) std::fill_n(gradients + offset, n, T{0});
        AddScaled(n, T{1}, from, gradients + offset);
      };
      add(layer.input_norm, norms.input, d);
      add(layer.post_attention_norm, norms.post_attention, d);
      add(layer.pre_mlp_norm, norms.pre_mlp, d);
      add(layer.post_mlp_norm, norms.post_mlp, d);
      add(layer.query_norm, norms.query, head_dim);
      add(layer.key_norm, norms.key, head_dim);
    }
  }
}

template <typename T>
void RowPass<T>::EmbeddingBackward(const PackedRow& row, T* gradients) {
  const ModelSpec& spec = layout_.spec;
  const double scale = spec.embedding_scaled ? std::sqrt(static_cast<double>(spec.d_model)) : 1.0;
  T* embeddings = gradients + layout_.embeddings;
  std::fill_n(embeddings, spec.vocab * spec.d_model, T{0});
  for (size_t t = 0; t < row.ids.size(); ++t) {
    AddScaled(spec.d_model, static_cast<T>(scale), dx_ + t * spec.d_model,
              embeddings + static_cast<size_t>(row.ids[t]) * spec.d_model);
  }
}

template <typename T>
std::vector<T> RowPass<T>::Logits(const PackedRow& row, const WeightView<T>& weights) {
  const ModelSpec& spec = layout_.spec;
  const RowFrame<T> frame = Begin(row, weights, false);
  Forward(row, frame);
  std::vector<T> logits(frame.tokens * spec.vocab);
  for (size_t t = 0; t < frame.tokens; t += kHeadBlock) {
    const size_t n = std::min(kHeadBlock, frame.tokens - t);
    NormForward<T>({n, spec.d_model, weights.values + layout_.final_norm, spec.norm_eps},
                   {hidden_.back() + t * spec.d_model, spec.d_model}, {head_normed_, spec.d_model},
                   head_inverse_);
    LinearForward(layout_.head, weights, n, head_normed_, logits.data() + t * spec.vocab);
  }
  return logits;
}

template class RowPass<float>;
template class RowPass<double>;

}  // namespace tessera::trainer
