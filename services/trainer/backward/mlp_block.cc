#include "services/trainer/backward/mlp_block.h"

#include <algorithm>

namespace tessera::trainer {
namespace {

size_t WidthOf(const ModelSpec& spec, size_t layer) {
  return spec.is_dense(layer) ? spec.dense_width : spec.shared_width();
}

}  // namespace

template <typename T>
void MlpScratch<T>::Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max) {
  const size_t width =
      std::max(spec.dense_layer_count > 0 ? spec.dense_width : 0, spec.shared_width());
  act = slab.Take(tokens_max * width);
  dact = slab.Take(tokens_max * width);
  dgate_up = slab.Take(tokens_max * 2 * width);
  dm = slab.Take(tokens_max * spec.d_model);
  dh = slab.Take(tokens_max * spec.d_model);
  if (spec.moe_layer_count() > 0) moe.Take(slab, spec, tokens_max);
}

template <typename T>
MlpBlock<T>::MlpBlock(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab)
    : spec_(spec), layer_(layer), width_(WidthOf(spec, layer)) {
  h_ = slab.Take(tokens_max * spec.d_model);
  inverse_h_ = slab.Take(tokens_max);
  gate_up_ = slab.Take(tokens_max * 2 * width_);
  m_ = slab.Take(tokens_max * spec.d_model);
  inverse_m_ = slab.Take(tokens_max);
  if (!spec.is_dense(layer)) moe_.emplace(spec, layer, tokens_max, slab);
}

template <typename T>
void MlpBlock<T>::Forward(const RowFrame<T>& frame, const T* x, T* after,
                          const MlpScratch<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = frame.tokens, d = spec_.d_model;
  const T eps = spec_.norm_eps;
  NormForward<T>({n, d, values + layer.pre_mlp_norm, eps}, {x, d}, {h_, d}, inverse_h_);
  if (width_ > 0) {
    LinearForward(layer.gate_up, 0, frame.weights, n, h_, gate_up_);
    SwiGluForward(n, width_, gate_up_, scratch.act);
    LinearForward(layer.down, 0, frame.weights, n, scratch.act, m_);
  } else {
    std::fill_n(m_, n * d, T{0});
  }
  if (moe_) moe_->Forward(frame, h_, m_, scratch.moe);
  AddNormForward<T>({n, d, values + layer.post_mlp_norm, eps}, {m_, d}, {x, d}, {after, d},
                    inverse_m_);
}

template <typename T>
void MlpBlock<T>::Backward(const RowFrame<T>& frame, const T* x, T balance_weight, T* dx,
                           T* gradients, const MlpScratch<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = frame.tokens, d = spec_.d_model;
  const T eps = spec_.norm_eps;
  NormBackward<T>({n, d, values + layer.post_mlp_norm, eps}, {m_, d}, inverse_m_, {dx, d},
                  {scratch.dm, d}, false, gradients + layer.post_mlp_norm);
  if (width_ > 0) {
    LinearBackInput(layer.down, 0, frame.weights, n, scratch.dm, scratch.dact, GemmMode::kSet);
    SwiGluForward(n, width_, gate_up_, scratch.act);
    LinearBackWeight(layer.down, 0, n, scratch.dm, scratch.act, GemmMode::kSet, gradients);
    SwiGluBackward<T>(n, width_, gate_up_, scratch.dact, nullptr, scratch.dgate_up);
    LinearBackWeight(layer.gate_up, 0, n, scratch.dgate_up, h_, GemmMode::kSet, gradients);
    LinearBackInput(layer.gate_up, 0, frame.weights, n, scratch.dgate_up, scratch.dh,
                    GemmMode::kSet);
  } else {
    std::fill_n(scratch.dh, n * d, T{0});
  }
  if (moe_) {
    moe_->Backward(frame, h_, scratch.dm, balance_weight, scratch.dh, gradients, scratch.moe);
  }
  NormBackward<T>({n, d, values + layer.pre_mlp_norm, eps}, {x, d}, inverse_h_, {scratch.dh, d},
                  {dx, d}, true, gradients + layer.pre_mlp_norm);
}

template struct MlpScratch<float>;
template struct MlpScratch<double>;
template class MlpBlock<float>;
template class MlpBlock<double>;

}  // namespace tessera::trainer
