#include "services/trainer/backward/mlp_block.h"

#include <algorithm>

namespace tessera::trainer {
namespace {

size_t WidthOf(const ModelSpec& spec, size_t layer) {
  return spec.is_dense(layer) ? spec.dense_width : spec.shared_width();
}

}  // namespace

template <typename T>
void MlpRows<T>::Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max) {
  width = std::max(spec.dense_layer_count > 0 ? spec.dense_width : 0, spec.shared_width());
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
void MlpBlock<T>::ForwardToExperts(const RowFrame<T>& frame, const RowSpan& span, const T* x,
                                   const MlpRows<T>& rows) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = span.size(), t = span.begin, d = spec_.d_model;
  const T eps = spec_.norm_eps;
  T *h = h_ + t * d, *m = m_ + t * d;
  NormForward<T>({n, d, values + layer.pre_mlp_norm, eps}, {x + t * d, d}, {h, d}, inverse_h_ + t);
  if (width_ > 0) {
    // Spans may be in layers of different widths: their rows must be apart in all of them.
    T *gate_up = gate_up_ + t * 2 * width_, *act = rows.act + t * rows.width;
    LinearForward(layer.gate_up, frame.weights, n, h, gate_up);
    SwiGluForward(n, width_, gate_up, act);
    LinearForward(layer.down, frame.weights, n, act, m);
  } else {
    std::fill_n(m, n * d, T{0});
  }
  if (moe_) moe_->Route(frame, span, h_, rows.moe);
}

template <typename T>
void MlpBlock<T>::ForwardFromExperts(const RowFrame<T>& frame, const RowSpan& span, const T* x,
                                     T* after, const MlpRows<T>& rows) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const size_t n = span.size(), t = span.begin, d = spec_.d_model;
  if (moe_) moe_->Combine(span, m_, rows.moe);
  AddNormForward<T>({n, d, frame.weights.values + layer.post_mlp_norm, spec_.norm_eps},
                    {m_ + t * d, d}, {x + t * d, d}, {after + t * d, d}, inverse_m_ + t);
}

template <typename T>
void MlpBlock<T>::BackwardToExperts(const RowFrame<T>& frame, const RowSpan& span, const T* dx,
                                    const NormGradients<T>& norms, const MlpRows<T>& rows) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const size_t n = span.size(), t = span.begin, d = spec_.d_model;
  T *dm = rows.dm + t * d, *dh = rows.dh + t * d;
  NormBackward<T>({n, d, frame.weights.values + layer.post_mlp_norm, spec_.norm_eps},
                  {m_ + t * d, d}, inverse_m_ + t, {dx + t * d, d}, {dm, d}, false, norms.post_mlp);
  if (width_ == 0) {
    std::fill_n(dh, n * d, T{0});
    return;
  }
  const T* gate_up = gate_up_ + t * 2 * width_;
  T *dact = rows.dact + t * width_, *dgate_up = rows.dgate_up + t * 2 * width_;
  LinearBackInput(layer.down, frame.weights, n, dm, dact);
  SwiGluBackward<T>(n, width_, gate_up,
                    {.dact = dact,
                     .weight = nullptr,
                     .act = rows.act + t * width_,
                     .dgate_up = dgate_up,
                     .dots = nullptr});
  LinearBackInput(layer.gate_up, frame.weights, n, dgate_up, dh);
}

template <typename T>
void MlpBlock<T>::BackwardFromExperts(const RowFrame<T>& frame, const RowSpan& span, const T* x,
                                      T balance_weight, T* dx, const NormGradients<T>& norms,
                                      const MlpRows<T>& rows) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const size_t n = span.size(), t = span.begin, d = spec_.d_model;
  if (moe_) moe_->RouterBackward(frame, span, h_, balance_weight, rows.dh, rows.moe);
  NormBackward<T>({n, d, frame.weights.values + layer.pre_mlp_norm, spec_.norm_eps}, {x + t * d, d},
                  inverse_h_ + t, {rows.dh + t * d, d}, {dx + t * d, d}, true, norms.pre_mlp);
}

template <typename T>
void MlpBlock<T>::AppendGradients(const RowFrame<T>& frame, const MlpRows<T>& rows,
                                  std::vector<WeightGradient<T>>& products) const {
  if (width_ == 0) return;
  const LayerParameters& layer = frame.layout.layers[layer_];
  AppendGradient<T>(layer.gate_up, frame.tokens, rows.dgate_up, h_, products);
  AppendGradient<T>(layer.down, frame.tokens, rows.dm, rows.act, products);
}

template struct MlpRows<float>;
template struct MlpRows<double>;
template class MlpBlock<float>;
template class MlpBlock<double>;

}  // namespace tessera::trainer
