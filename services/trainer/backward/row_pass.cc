#include "services/trainer/backward/row_pass.h"

#include <algorithm>
#include <cmath>

namespace tessera::trainer {
namespace {

constexpr size_t kHeadBlock = 96;  // rows whose logits exist at once

}  // namespace

template <typename T>
RowPass<T>::RowPass(const ParameterLayout& layout, size_t tokens_max)
    : layout_(layout), tokens_max_(tokens_max) {}

template <typename T>
void RowPass<T>::Arrange(Slab<T>& slab) {
  const ModelSpec& spec = layout_.spec;
  const size_t rows = tokens_max_ * spec.d_model;
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
  head_rows_ = slab.Take(kHeadBlock * spec.d_model);
  head_normed_ = slab.Take(kHeadBlock * spec.d_model);
  head_drows_ = slab.Take(kHeadBlock * spec.d_model);
  head_inverse_ = slab.Take(kHeadBlock);
  logits_ = slab.Take(kHeadBlock * spec.vocab);
  attention_scratch_.Take(slab, spec, tokens_max_);
  mlp_scratch_.Take(slab, spec, tokens_max_);
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
                                                               size_t tokens_max) {
  std::unique_ptr<RowPass> pass(new RowPass(layout, tokens_max));
  Slab<T> measure;
  pass->Arrange(measure);
  TESSERA_ASSIGN_OR_RETURN(pass->slab_, Slab<T>::Allocate(measure.taken()));
  pass->Arrange(pass->slab_);
  pass->FillAngles();
  return pass;
}

template <typename T>
RowFrame<T> RowPass<T>::Frame(const PackedRow& row, const WeightView<T>& weights,
                              bool balance) const {
  TESSERA_CHECK(!row.ids.empty() && row.ids.size() <= tokens_max_);
  TESSERA_CHECK(row.targets.size() == row.ids.size() && row.documents.back() == row.ids.size());
  return {layout_, weights, row.ids.size(), row.documents, cosines_, sines_, balance};
}

template <typename T>
void RowPass<T>::Forward(const PackedRow& row, const RowFrame<T>& frame) {
  const ModelSpec& spec = layout_.spec;
  const T* embeddings = frame.weights.values + layout_.embeddings;
  const double scale = spec.embedding_scaled ? std::sqrt(static_cast<double>(spec.d_model)) : 1.0;
  for (size_t t = 0; t < frame.tokens; ++t) {
    Scale(spec.d_model, static_cast<T>(scale),
          embeddings + static_cast<size_t>(row.ids[t]) * spec.d_model,
          hidden_[0] + t * spec.d_model);
  }
  for (size_t i = 0; i < spec.layer_count; ++i) {
    attention_[i].Forward(frame, hidden_[2 * i], hidden_[2 * i + 1], attention_scratch_);
    mlp_[i].Forward(frame, hidden_[2 * i + 1], hidden_[2 * i + 2], mlp_scratch_);
  }
}

template <typename T>
RowLoss RowPass<T>::Run(const PackedRow& row, const WeightView<T>& weights,
                        const LossOptions& options, T* gradients) {
  const ModelSpec& spec = layout_.spec;
  const RowFrame<T> frame = Frame(row, weights, options.balance_weight > 0);
  // Matrices are set as a whole, vectors added to row by row.
  for (const Parameter& parameter : layout_.parameters) {
    if (parameter.kind == ParameterKind::kNorm) {
      std::fill_n(gradients + parameter.offset, parameter.size(), T{0});
    }
  }
  Forward(row, frame);
  RowLoss loss = Loss(row, frame, options, gradients);
  const T balance = static_cast<T>(options.balance_weight);
  for (size_t i = spec.layer_count; i-- > 0;) {
    mlp_[i].Backward(frame, hidden_[2 * i + 1], balance, dx_, gradients, mlp_scratch_);
    attention_[i].Backward(frame, hidden_[2 * i], dx_, gradients, attention_scratch_);
  }
  EmbeddingBackward(row, gradients);
  return loss;
}

template <typename T>
RowLoss RowPass<T>::Evaluate(const PackedRow& row, const WeightView<T>& weights,
                             const LossOptions& options) {
  const RowFrame<T> frame = Frame(row, weights, options.balance_weight > 0);
  Forward(row, frame);
  return Loss(row, frame, options, nullptr);
}

template <typename T>
RowLoss RowPass<T>::Loss(const PackedRow& row, const RowFrame<T>& frame, const LossOptions& options,
                         T* gradients) {
  const size_t d = layout_.spec.d_model;
  RowLoss loss;
  for (const MlpBlock<T>& block : mlp_) {
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
    std::fill_n(gradients + layout_.head.offset, layout_.head.out * d, T{0});
  }
  for (size_t i = 0; i < tokens.size(); i += kHeadBlock) {
    const size_t count = std::min(kHeadBlock, tokens.size() - i);
    HeadBlock(frame, std::span(tokens).subspan(i, count), row, options, gradients, loss);
  }
  return loss;
}

template <typename T>
void RowPass<T>::HeadBlock(const RowFrame<T>& frame, std::span<const uint32_t> tokens,
                           const PackedRow& row, const LossOptions& options, T* gradients,
                           RowLoss& loss) {
  const ModelSpec& spec = layout_.spec;
  const size_t d = spec.d_model, vocab = spec.vocab, n = tokens.size();
  const NormArgs<T> norm = {n, d, frame.weights.values + layout_.final_norm, spec.norm_eps};
  for (size_t r = 0; r < n; ++r) {
    std::copy_n(hidden_.back() + tokens[r] * d, d, head_rows_ + r * d);
  }
  NormForward<T>(norm, {head_rows_, d}, {head_normed_, d}, head_inverse_);
  LinearForward(layout_.head, 0, frame.weights, n, head_normed_, logits_);
  for (size_t r = 0; r < n; ++r) {
    const auto target = static_cast<size_t>(row.targets[tokens[r]]);
    T* logits = logits_ + r * vocab;
    loss.hits += static_cast<size_t>(std::max_element(logits, logits + vocab) - logits) == target;
    const TokenLoss<T> token = LossRow(vocab, target, static_cast<T>(options.token_weight),
                                       static_cast<T>(options.z_weight), logits);
    loss.cross_entropy += static_cast<double>(token.cross_entropy);
    loss.log_sum_square += static_cast<double>(token.log_sum) * static_cast<double>(token.log_sum);
  }
  loss.tokens += n;
  if (!gradients) return;
  LinearBackWeight(layout_.head, 0, n, logits_, head_normed_, GemmMode::kAdd, gradients);
  LinearBackInput(layout_.head, 0, frame.weights, n, logits_, head_drows_, GemmMode::kSet);
  NormBackward<T>(norm, {head_rows_, d}, head_inverse_, {head_drows_, d}, {head_drows_, d}, false,
                  gradients + layout_.final_norm);
  for (size_t r = 0; r < n; ++r) std::copy_n(head_drows_ + r * d, d, dx_ + tokens[r] * d);
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
  const RowFrame<T> frame = Frame(row, weights, false);
  Forward(row, frame);
  std::vector<T> logits(frame.tokens * spec.vocab);
  for (size_t t = 0; t < frame.tokens; t += kHeadBlock) {
    const size_t n = std::min(kHeadBlock, frame.tokens - t);
    NormForward<T>({n, spec.d_model, weights.values + layout_.final_norm, spec.norm_eps},
                   {hidden_.back() + t * spec.d_model, spec.d_model}, {head_normed_, spec.d_model},
                   head_inverse_);
    LinearForward(layout_.head, 0, weights, n, head_normed_, logits.data() + t * spec.vocab);
  }
  return logits;
}

template class RowPass<float>;
template class RowPass<double>;

}  // namespace tessera::trainer
