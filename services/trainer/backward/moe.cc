#include "services/trainer/backward/moe.h"

#include <algorithm>
#include <numeric>

namespace tessera::trainer {
namespace {

constexpr size_t kBlock = 96;  // rows of an expert at once

}  // namespace

template <typename T>
void MoeRows<T>::Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max) {
  scores = slab.Take(tokens_max * spec.expert_count);
  dscores = slab.Take(tokens_max * spec.expert_count);
  results = slab.Take(tokens_max * spec.top_k * spec.d_model);
  dslot_weights = slab.Take(tokens_max * spec.top_k);
  dlogits = slab.Take(tokens_max * spec.top_k);
}

template <typename T>
void MoeScratch<T>::Take(Slab<T>& slab, const ModelSpec& spec) {
  rows = slab.Take(kBlock * spec.d_model);
  act = slab.Take(kBlock * spec.expert_width);
  dact = slab.Take(kBlock * spec.expert_width);
  dgate_up = slab.Take(kBlock * 2 * spec.expert_width);
  slot_weights = slab.Take(kBlock);
  dots = slab.Take(kBlock);
  gate_up_panels = slab.Take(PanelSize(spec.d_model, 2 * spec.expert_width));
  down_panels = slab.Take(PanelSize(spec.expert_width, spec.d_model));
}

template <typename T>
Moe<T>::Moe(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab)
    : spec_(spec), layer_(layer) {
  chosen_scores_ = slab.Take(tokens_max * spec.top_k);
  weights_ = slab.Take(tokens_max * spec.top_k);
  gate_up_ = slab.Take(tokens_max * spec.top_k * 2 * spec.expert_width);
  experts_.resize(tokens_max * spec.top_k);
  slots_.resize(tokens_max * spec.top_k);
  places_.resize(tokens_max * spec.top_k);
  begins_.resize(spec.expert_count + 1);
  counts_.resize(spec.expert_count);
  position_.resize(spec.expert_count);
}

// The top_k largest of score + bias, ties to the lower id; kept in ascending id.
template <typename T>
void Moe<T>::Choose(const T* scores, const T* bias, size_t token) {
  const size_t k = spec_.top_k;
  uint32_t* best = experts_.data() + token * k;
  T* values = weights_ + token * k;  // of the best, descending; overwritten below
  LargestSums(spec_.expert_count, k, scores, bias, best, values);
  std::sort(best, best + k);
  T sum = 0;
  for (size_t j = 0; j < k; ++j) {
    chosen_scores_[token * k + j] = scores[best[j]];
    sum += scores[best[j]];
  }
  const T scale = static_cast<T>(spec_.route_scale);
  const T factor = spec_.route_normalize ? scale / (sum + static_cast<T>(1e-20)) : scale;
  for (size_t j = 0; j < k; ++j) values[j] = chosen_scores_[token * k + j] * factor;
}

template <typename T>
void Moe<T>::Route(const RowFrame<T>& frame, const RowSpan& span, const T* h,
                   const MoeRows<T>& rows) {
  const size_t count = spec_.expert_count, d = spec_.d_model;
  const T* bias = frame.weights.expert_bias + (layer_ - spec_.dense_layer_count) * count;
  for (size_t t = span.begin; t < span.end; t += kBlock) {
    const size_t n = std::min(kBlock, span.end - t);
    T* scores = rows.scores + t * count;
    LinearForward(frame.layout.layers[layer_].router, frame.weights, n, h + t * d, scores);
    SigmoidInPlace(n * count, scores);
    for (size_t i = 0; i < n; ++i) Choose(scores + i * count, bias, t + i);
  }
}

template <typename T>
void Moe<T>::Sort(const RowFrame<T>& frame, const MoeRows<T>& rows) {
  const size_t slots = frame.tokens * spec_.top_k;
  std::fill(counts_.begin(), counts_.end(), 0);
  for (size_t i = 0; i < slots; ++i) ++counts_[experts_[i]];
  begins_[0] = 0;
  std::partial_sum(counts_.begin(), counts_.end(), begins_.begin() + 1);
  std::copy(begins_.begin(), begins_.end() - 1, position_.begin());
  for (size_t i = 0; i < slots; ++i) {
    places_[i] = position_[experts_[i]]++;
    slots_[places_[i]] = static_cast<uint32_t>(i);
  }
  balance_ = frame.sequences.empty() ? 0 : BalanceLoss(frame.sequences, rows.scores);
}

// Of each sequence E / (k T) * sum over experts of n_e * mean over tokens of s_e / sum(s).
template <typename T>
double Moe<T>::BalanceLoss(std::span<const uint32_t> sequences, const T* scores) {
  const size_t count = spec_.expert_count, k = spec_.top_k;
  sequence_counts_.assign((sequences.size() - 1) * count, 0);
  double total = 0;
  for (size_t i = 0; i + 1 < sequences.size(); ++i) {
    uint32_t* counts = sequence_counts_.data() + i * count;
    for (size_t j = sequences[i] * k; j < sequences[i + 1] * k; ++j) ++counts[experts_[j]];
    double loss = 0;
    for (size_t t = sequences[i]; t < sequences[i + 1]; ++t) {
      const T* s = scores + t * count;
      double sum = 0, weighted = 0;
      for (size_t e = 0; e < count; ++e) {
        sum += static_cast<double>(s[e]);
        weighted += static_cast<double>(counts[e]) * static_cast<double>(s[e]);
      }
      loss += weighted / sum;
    }
    const auto n = static_cast<double>(sequences[i + 1] - sequences[i]);
    total += loss * static_cast<double>(count) / (static_cast<double>(k) * n * n);
  }
  return total;
}

template <typename T>
void Moe<T>::ExpertForward(const RowFrame<T>& frame, size_t expert, const T* h,
                           const MoeRows<T>& rows, const MoeScratch<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const size_t d = spec_.d_model, width = spec_.expert_width;
  if (begins_[expert] == begins_[expert + 1]) return;
  const ExpertPanels<T> gate_up(layer.experts_gate_up, expert, frame.weights,
                                scratch.gate_up_panels);
  const ExpertPanels<T> down(layer.experts_down, expert, frame.weights, scratch.down_panels);
  for (size_t begin = begins_[expert]; begin < begins_[expert + 1]; begin += kBlock) {
    const size_t n = std::min<size_t>(kBlock, begins_[expert + 1] - begin);
    const uint32_t* slots = slots_.data() + begin;
    T* kept = gate_up_ + begin * 2 * width;
    for (size_t r = 0; r < n; ++r) {
      std::copy_n(h + slots[r] / spec_.top_k * d, d, scratch.rows + r * d);
    }
    gate_up.Forward(n, scratch.rows, kept);
    SwiGluForward(n, width, kept, scratch.act);
    down.Forward(n, scratch.act, rows.results + begin * d);
  }
}

template <typename T>
void Moe<T>::Combine(const RowSpan& span, T* m, const MoeRows<T>& rows) const {
  const size_t d = spec_.d_model, k = spec_.top_k;
  std::vector<const T*> results(k);
  for (size_t t = span.begin; t < span.end; ++t) {
    for (size_t j = 0; j < k; ++j) results[j] = rows.results + places_[t * k + j] * d;
    AddScaledRows(d, k, weights_ + t * k, results.data(), m + t * d);
  }
}

// With a the activations of an expert, y = a W_down^T its output and w the slot's weight:
//   d(w) = <dm, y> = <dm W_down, a>, so y itself is not needed again;   da = w (dm W_down).
template <typename T>
void Moe<T>::ExpertBackward(const RowFrame<T>& frame, size_t expert, const T* h, const T* dm,
                            T* gradients, const MoeRows<T>& rows,
                            const MoeScratch<T>& scratch) const {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const Linear &gate_up = layer.experts_gate_up, &down = layer.experts_down;
  const size_t d = spec_.d_model, width = spec_.expert_width, end = begins_[expert + 1];
  GemmMode mode = GemmMode::kSet;
  if (begins_[expert] == end) {
    std::fill_n(gradients + gate_up.offset + expert * 2 * width * d, 2 * width * d, T{0});
    std::fill_n(gradients + down.offset + expert * d * width, d * width, T{0});
  }
  for (size_t begin = begins_[expert]; begin < end; begin += kBlock, mode = GemmMode::kAdd) {
    const size_t n = std::min(kBlock, end - begin);
    const uint32_t* slots = slots_.data() + begin;
    const T* kept = gate_up_ + begin * 2 * width;
    for (size_t r = 0; r < n; ++r) {
      std::copy_n(dm + slots[r] / spec_.top_k * d, d, scratch.rows + r * d);
      scratch.slot_weights[r] = weights_[slots[r]];
    }
    ExpertBackInput(down, expert, frame.weights, n, scratch.rows, scratch.dact);
    // The activations come back times their weights, which is what W_down's gradient needs.
    SwiGluBackward<T>(n, width, kept,
                      {.dact = scratch.dact,
                       .weight = scratch.slot_weights,
                       .act = scratch.act,
                       .dgate_up = scratch.dgate_up,
                       .dots = scratch.dots});
    for (size_t r = 0; r < n; ++r) rows.dslot_weights[slots[r]] = scratch.dots[r];
    ExpertBackWeight(down, expert, n, scratch.rows, scratch.act, mode, gradients);
    for (size_t r = 0; r < n; ++r) {
      std::copy_n(h + slots[r] / spec_.top_k * d, d, scratch.rows + r * d);
    }
    ExpertBackWeight(gate_up, expert, n, scratch.dgate_up, scratch.rows, mode, gradients);
    ExpertBackInput(gate_up, expert, frame.weights, n, scratch.dgate_up, rows.results + begin * d);
  }
}

// Through the weights of the chosen experts alone: with w_j = c s_j / S and S the sum of the chosen
// scores, ds_j = (c dw_j - sum_i dw_i w_i) / S. The selection has no gradient.
template <typename T>
void Moe<T>::RouterBackward(const RowFrame<T>& frame, const RowSpan& span, const T* h,
                            T balance_weight, T* dh, const MoeRows<T>& rows) const {
  const size_t d = spec_.d_model, k = spec_.top_k;
  const T* router = frame.weights.values + frame.layout.layers[layer_].router.offset;
  const T scale = static_cast<T>(spec_.route_scale);
  // Of a token: what came back from its experts, and the router's rows.
  std::vector<const T*> parts(2 * k);
  std::vector<T> factors(2 * k, T{1});
  for (size_t t = span.begin; t < span.end; ++t) {
    const T *score = chosen_scores_ + t * k, *dweights = rows.dslot_weights + t * k;
    T sum = 1, mean = 0;
    if (spec_.route_normalize) {
      sum = std::accumulate(score, score + k, static_cast<T>(1e-20));
      for (size_t j = 0; j < k; ++j) mean += dweights[j] * weights_[t * k + j];
    }
    for (size_t j = 0; j < k; ++j) {
      const size_t i = t * k + j;
      rows.dlogits[i] = (scale * dweights[j] - mean) / sum * score[j] * (1 - score[j]);
      parts[j] = rows.results + places_[i] * d;
      parts[k + j] = router + experts_[i] * d;
      factors[k + j] = rows.dlogits[i];
    }
    AddScaledRows(d, 2 * k, factors.data(), parts.data(), dh + t * d);
  }
  if (balance_weight > 0) BalanceBackward(frame, span, h, balance_weight, dh, rows);
}

template <typename T>
void Moe<T>::RouterGradient(const RowFrame<T>& frame, size_t begin, size_t end, const T* h,
                            bool balance, T* gradients, const MoeRows<T>& rows) const {
  const Linear& router = frame.layout.layers[layer_].router;
  const size_t d = spec_.d_model, k = spec_.top_k;
  T* to = gradients + router.offset + begin * d;
  std::fill_n(to, (end - begin) * d, T{0});
  std::vector<const T*> parts;
  std::vector<T> factors;
  for (size_t e = begin; e < end; ++e) {
    parts.clear();
    factors.clear();
    for (size_t i = begins_[e]; i < begins_[e + 1]; ++i) {
      parts.push_back(h + slots_[i] / k * d);
      factors.push_back(rows.dlogits[slots_[i]]);
    }
    AddScaledRows(d, parts.size(), factors.data(), parts.data(), to + (e - begin) * d);
  }
  if (!balance) return;
  ComputeGradient<T>({&router, begin, end, frame.tokens, rows.dscores, h, GemmMode::kAdd},
                     gradients);
}

// With p = s / S over all experts of a token and c_e = weight * E / (k T) * n_e / T:
//   ds_e = (c_e - sum_j c_j p_j) / S.
template <typename T>
void Moe<T>::BalanceBackward(const RowFrame<T>& frame, const RowSpan& span, const T* h, T weight,
                             T* dh, const MoeRows<T>& rows) const {
  const Linear& router = frame.layout.layers[layer_].router;
  const size_t count = spec_.expert_count, d = spec_.d_model, begin = span.begin;
  LinearForward(router, frame.weights, span.size(), h + begin * d, rows.scores + begin * count);
  SigmoidInPlace(span.size() * count, rows.scores + begin * count);
  for (size_t t = begin, sequence = 0; t < span.end; ++t) {
    while (frame.sequences[sequence + 1] <= t) ++sequence;
    const auto tokens = static_cast<T>(frame.sequences[sequence + 1] - frame.sequences[sequence]);
    const T factor =
        weight * static_cast<T>(count) / (static_cast<T>(spec_.top_k) * tokens * tokens);
    const uint32_t* counts = sequence_counts_.data() + sequence * count;
    const T* s = rows.scores + t * count;
    T* ds = rows.dscores + t * count;
    const T sum = std::accumulate(s, s + count, T{0});
    T mean = 0;
    for (size_t e = 0; e < count; ++e) mean += factor * static_cast<T>(counts[e]) * s[e] / sum;
    for (size_t e = 0; e < count; ++e) {
      ds[e] = (factor * static_cast<T>(counts[e]) - mean) / sum * s[e] * (1 - s[e]);
    }
  }
  LinearBackInput(router, frame.weights, span.size(), rows.dscores + begin * count, dh + begin * d,
                  GemmMode::kAdd);
}

template struct MoeRows<float>;
template struct MoeRows<double>;
template struct MoeScratch<float>;
template struct MoeScratch<double>;
template class Moe<float>;
template class Moe<double>;

}  // namespace tessera::trainer
