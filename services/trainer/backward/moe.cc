#include "services/trainer/backward/moe.h"

#include <algorithm>
#include <numeric>

namespace tessera::trainer {
namespace {

constexpr size_t kBlock = 96;  // rows of an expert at once

}  // namespace

template <typename T>
void MoeScratch<T>::Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max) {
  scores = slab.Take(tokens_max * spec.expert_count);
  dscores = slab.Take(tokens_max * spec.expert_count);
  rows = slab.Take(kBlock * spec.d_model);
  results = slab.Take(kBlock * spec.d_model);
  act = slab.Take(kBlock * spec.expert_width);
  dact = slab.Take(kBlock * spec.expert_width);
  weighted = slab.Take(kBlock * spec.expert_width);
  dgate_up = slab.Take(kBlock * 2 * spec.expert_width);
  slot_weights = slab.Take(kBlock);
  dslot_weights = slab.Take(tokens_max * spec.top_k);
}

template <typename T>
Moe<T>::Moe(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab)
    : spec_(spec), layer_(layer) {
  chosen_scores_ = slab.Take(tokens_max * spec.top_k);
  weights_ = slab.Take(tokens_max * spec.top_k);
  gate_up_ = slab.Take(tokens_max * spec.top_k * 2 * spec.expert_width);
  experts_.resize(tokens_max * spec.top_k);
  slots_.resize(tokens_max * spec.top_k);
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
  size_t found = 0;
  for (size_t e = 0; e < spec_.expert_count; ++e) {
    const T value = scores[e] + bias[e];
    if (found == k && !(value > values[k - 1])) continue;
    size_t at = found < k ? found++ : k - 1;
    for (; at > 0 && value > values[at - 1]; --at) {
      values[at] = values[at - 1];
      best[at] = best[at - 1];
    }
    values[at] = value;
    best[at] = static_cast<uint32_t>(e);
  }
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
void Moe<T>::SortSlots(size_t tokens) {
  const size_t slots = tokens * spec_.top_k;
  std::fill(counts_.begin(), counts_.end(), 0);
  for (size_t i = 0; i < slots; ++i) ++counts_[experts_[i]];
  begins_[0] = 0;
  std::partial_sum(counts_.begin(), counts_.end(), begins_.begin() + 1);
  std::copy(begins_.begin(), begins_.end() - 1, position_.begin());
  for (size_t i = 0; i < slots; ++i) slots_[position_[experts_[i]]++] = static_cast<uint32_t>(i);
}

// E / (k T) * sum over experts of n_e * mean over tokens of s_e / sum(s).
template <typename T>
double Moe<T>::BalanceLoss(size_t tokens, const T* scores) const {
  const size_t count = spec_.expert_count;
  double loss = 0;
  for (size_t t = 0; t < tokens; ++t, scores += count) {
    double sum = 0, weighted = 0;
    for (size_t e = 0; e < count; ++e) {
      sum += static_cast<double>(scores[e]);
      weighted += static_cast<double>(counts_[e]) * static_cast<double>(scores[e]);
    }
    loss += weighted / sum;
  }
  const auto n = static_cast<double>(tokens);
  return loss * static_cast<double>(count) / (static_cast<double>(spec_.top_k) * n * n);
}

template <typename T>
void Moe<T>::Forward(const RowFrame<T>& frame, const T* h, T* m, const MoeScratch<T>& scratch) {
  const size_t n = frame.tokens, count = spec_.expert_count;
  LinearForward(frame.layout.layers[layer_].router, 0, frame.weights, n, h, scratch.scores);
  SigmoidInPlace(n * count, scratch.scores);
  const T* bias = frame.weights.expert_bias + (layer_ - spec_.dense_layer_count) * count;
  for (size_t t = 0; t < n; ++t) Choose(scratch.scores + t * count, bias, t);
  SortSlots(n);
  balance_ = frame.balance ? BalanceLoss(n, scratch.scores) : 0;
  for (size_t e = 0; e < count; ++e) ExpertForward(frame, e, h, m, scratch);
}

template <typename T>
void Moe<T>::ExpertForward(const RowFrame<T>& frame, size_t expert, const T* h, T* m,
                           const MoeScratch<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const size_t d = spec_.d_model, width = spec_.expert_width;
  for (size_t begin = begins_[expert]; begin < begins_[expert + 1]; begin += kBlock) {
    const size_t rows = std::min<size_t>(kBlock, begins_[expert + 1] - begin);
    const uint32_t* slots = slots_.data() + begin;
    T* gate_up = gate_up_ + begin * 2 * width;
    for (size_t r = 0; r < rows; ++r) {
      std::copy_n(h + slots[r] / spec_.top_k * d, d, scratch.rows + r * d);
    }
    LinearForward(layer.experts_gate_up, expert, frame.weights, rows, scratch.rows, gate_up);
    SwiGluForward(rows, width, gate_up, scratch.act);
    LinearForward(layer.experts_down, expert, frame.weights, rows, scratch.act, scratch.results);
    for (size_t r = 0; r < rows; ++r) {
      AddScaled(d, weights_[slots[r]], scratch.results + r * d, m + slots[r] / spec_.top_k * d);
    }
  }
}

template <typename T>
void Moe<T>::Backward(const RowFrame<T>& frame, const T* h, const T* dm, T balance_weight, T* dh,
                      T* gradients, const MoeScratch<T>& scratch) {
  for (size_t e = 0; e < spec_.expert_count; ++e) {
    ExpertBackward(frame, e, h, dm, dh, gradients, scratch);
  }
  RouterBackward(frame, h, dh, gradients, scratch);
  if (balance_weight > 0) BalanceBackward(frame, h, balance_weight, dh, gradients, scratch);
}

// With a the activations of an expert, y = a W_down^T its output and w the slot's weight:
//   d(w) = <dm, y> = <dm W_down, a>, so y itself is not needed again;   da = w (dm W_down).
template <typename T>
void Moe<T>::ExpertBackward(const RowFrame<T>& frame, size_t expert, const T* h, const T* dm, T* dh,
                            T* gradients, const MoeScratch<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const Linear &gate_up = layer.experts_gate_up, &down = layer.experts_down;
  const size_t d = spec_.d_model, width = spec_.expert_width, end = begins_[expert + 1];
  GemmMode mode = GemmMode::kSet;
  if (begins_[expert] == end) {
    std::fill_n(gradients + gate_up.offset + expert * 2 * width * d, 2 * width * d, T{0});
    std::fill_n(gradients + down.offset + expert * d * width, d * width, T{0});
  }
  for (size_t begin = begins_[expert]; begin < end; begin += kBlock, mode = GemmMode::kAdd) {
    const size_t rows = std::min(kBlock, end - begin);
    const uint32_t* slots = slots_.data() + begin;
    const T* kept = gate_up_ + begin * 2 * width;
    for (size_t r = 0; r < rows; ++r) {
      std::copy_n(dm + slots[r] / spec_.top_k * d, d, scratch.rows + r * d);
      scratch.slot_weights[r] = weights_[slots[r]];
    }
    LinearBackInput(down, expert, frame.weights, rows, scratch.rows, scratch.dact, GemmMode::kSet);
    SwiGluForward(rows, width, kept, scratch.act);
    for (size_t r = 0; r < rows; ++r) {
      const T* act = scratch.act + r * width;
      scratch.dslot_weights[slots[r]] = Dot(width, act, scratch.dact + r * width);
      Scale(width, scratch.slot_weights[r], act, scratch.weighted + r * width);
    }
    LinearBackWeight(down, expert, rows, scratch.rows, scratch.weighted, mode, gradients);
    SwiGluBackward(rows, width, kept, scratch.dact, scratch.slot_weights, scratch.dgate_up);
    for (size_t r = 0; r < rows; ++r) {
      std::copy_n(h + slots[r] / spec_.top_k * d, d, scratch.rows + r * d);
    }
    LinearBackWeight(gate_up, expert, rows, scratch.dgate_up, scratch.rows, mode, gradients);
    LinearBackInput(gate_up, expert, frame.weights, rows, scratch.dgate_up, scratch.results,
                    GemmMode::kSet);
    for (size_t r = 0; r < rows; ++r) {
      AddScaled(d, T{1}, scratch.results + r * d, dh + slots[r] / spec_.top_k * d);
    }
  }
}

// Through the weights of the chosen experts alone: with w_j = c s_j / S and S the sum of the chosen
// scores, ds_j = (c dw_j - sum_i dw_i w_i) / S. The selection has no gradient.
template <typename T>
void Moe<T>::RouterBackward(const RowFrame<T>& frame, const T* h, T* dh, T* gradients,
                            const MoeScratch<T>& scratch) {
  const Linear& router = frame.layout.layers[layer_].router;
  const size_t d = spec_.d_model, k = spec_.top_k;
  const T* rows = frame.weights.values + router.offset;
  const T scale = static_cast<T>(spec_.route_scale);
  T* dweights = scratch.dslot_weights;
  for (size_t t = 0; t < frame.tokens; ++t, dweights += k) {
    const T* score = chosen_scores_ + t * k;
    T sum = 1, mean = 0;
    if (spec_.route_normalize) {
      sum = std::accumulate(score, score + k, static_cast<T>(1e-20));
      for (size_t j = 0; j < k; ++j) mean += dweights[j] * weights_[t * k + j];
    }
    for (size_t j = 0; j < k; ++j) {
      dweights[j] = (scale * dweights[j] - mean) / sum * score[j] * (1 - score[j]);
      AddScaled(d, dweights[j], rows + experts_[t * k + j] * d, dh + t * d);
    }
  }
  std::fill_n(gradients + router.offset, router.out * d, T{0});
  for (size_t e = 0; e < router.out; ++e) {
    for (size_t i = begins_[e]; i < begins_[e + 1]; ++i) {
      AddScaled(d, scratch.dslot_weights[slots_[i]], h + slots_[i] / k * d,
                gradients + router.offset + e * d);
    }
  }
}

// With p = s / S over all experts of a token and c_e = weight * E / (k T) * n_e / T:
//   ds_e = (c_e - sum_j c_j p_j) / S.
template <typename T>
void Moe<T>::BalanceBackward(const RowFrame<T>& frame, const T* h, T weight, T* dh, T* gradients,
                             const MoeScratch<T>& scratch) {
  const Linear& router = frame.layout.layers[layer_].router;
  const size_t count = spec_.expert_count, n = frame.tokens;
  const auto tokens = static_cast<T>(n);
  const T factor = weight * static_cast<T>(count) / (static_cast<T>(spec_.top_k) * tokens * tokens);
  LinearForward(router, 0, frame.weights, n, h, scratch.scores);
  SigmoidInPlace(n * count, scratch.scores);
  for (size_t t = 0; t < n; ++t) {
    const T* s = scratch.scores + t * count;
    T* ds = scratch.dscores + t * count;
    const T sum = std::accumulate(s, s + count, T{0});
    T mean = 0;
    for (size_t e = 0; e < count; ++e) mean += factor * static_cast<T>(counts_[e]) * s[e] / sum;
    for (size_t e = 0; e < count; ++e) {
      ds[e] = (factor * static_cast<T>(counts_[e]) - mean) / sum * s[e] * (1 - s[e]);
    }
  }
  LinearBackInput(router, 0, frame.weights, n, scratch.dscores, dh, GemmMode::kAdd);
  LinearBackWeight(router, 0, n, scratch.dscores, h, GemmMode::kAdd, gradients);
}

template struct MoeScratch<float>;
template struct MoeScratch<double>;
template class Moe<float>;
template class Moe<double>;

}  // namespace tessera::trainer
