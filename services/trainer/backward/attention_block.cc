#include "services/trainer/backward/attention_block.h"

namespace tessera::trainer {

template <typename T>
void AttentionScratchRows<T>::Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max) {
  gated = slab.Take(tokens_max * spec.query_width());
  dgated = slab.Take(tokens_max * spec.query_width());
  dqkvg = slab.Take(tokens_max * 2 * (spec.query_width() + spec.kv_width()));
  doutput = slab.Take(tokens_max * spec.query_width());
  dy = slab.Take(tokens_max * spec.d_model);
  attention.Take(slab, {spec.query_heads, spec.kv_heads, spec.head_dim, 0}, tokens_max);
}

template <typename T>
AttentionBlock<T>::AttentionBlock(const ModelSpec& spec, size_t layer, size_t tokens_max,
                                  Slab<T>& slab)
    : spec_(spec), layer_(layer) {
  h_ = slab.Take(tokens_max * spec.d_model);
  inverse_h_ = slab.Take(tokens_max);
  qkvg_ = slab.Take(tokens_max * 2 * (spec.query_width() + spec.kv_width()));
  query_ = slab.Take(tokens_max * spec.query_width());
  key_ = slab.Take(tokens_max * spec.kv_width());
  inverse_query_ = slab.Take(tokens_max * spec.query_heads);
  inverse_key_ = slab.Take(tokens_max * spec.kv_heads);
  log_sums_ = slab.Take(tokens_max * spec.query_heads);
  attended_ = slab.Take(tokens_max * spec.query_width());
  y_ = slab.Take(tokens_max * spec.d_model);
  inverse_y_ = slab.Take(tokens_max);
}

template <typename T>
AttentionShape AttentionBlock<T>::shape() const {
  const bool sliding = spec_.layer_kinds[layer_] == LayerKind::kSliding;
  return {spec_.query_heads, spec_.kv_heads, spec_.head_dim, sliding ? spec_.sliding_window : 0};
}

template <typename T>
AttentionInput<T> AttentionBlock<T>::Input() const {
  const size_t query = spec_.query_width(), kv = spec_.kv_width();
  return {{query_, query}, {key_, kv}, {qkvg_ + query + kv, 2 * (query + kv)}};
}

template <typename T>
void AttentionBlock<T>::RotateHeads(const RowFrame<T>& frame, bool backwards, Strided<T> query,
                                    Strided<T> key) const {
  if (spec_.layer_kinds[layer_] != LayerKind::kSliding) return;
  const size_t d = spec_.head_dim;
  for (size_t i = 0; i + 1 < frame.documents.size(); ++i) {
    const size_t begin = frame.documents[i], rows = frame.documents[i + 1] - begin;
    for (size_t head = 0; head < spec_.query_heads; ++head) {
      Rotate(rows, d, frame.cosines, frame.sines, backwards,
             Strided<T>{query.row(begin) + head * d, query.stride});
    }
    for (size_t head = 0; head < spec_.kv_heads; ++head) {
      Rotate(rows, d, frame.cosines, frame.sines, backwards,
             Strided<T>{key.row(begin) + head * d, key.stride});
    }
  }
}

template <typename T>
void AttentionBlock<T>::Forward(const RowFrame<T>& frame, const T* x, T* after,
                                const AttentionScratchRows<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = frame.tokens, d = spec_.d_model, head_dim = spec_.head_dim;
  const size_t query = spec_.query_width(), kv = spec_.kv_width(), stride = 2 * (query + kv);
  const T eps = spec_.norm_eps;
  NormForward<T>({n, d, values + layer.input_norm, eps}, {x, d}, {h_, d}, inverse_h_);
  LinearForward(layer.qkvg, 0, frame.weights, n, h_, qkvg_);
  for (size_t head = 0; head < spec_.query_heads; ++head) {
    NormForward<T>({n, head_dim, values + layer.query_norm, eps}, {qkvg_ + head * head_dim, stride},
                   {query_ + head * head_dim, query}, inverse_query_ + head * n);
  }
  for (size_t head = 0; head < spec_.kv_heads; ++head) {
    NormForward<T>({n, head_dim, values + layer.key_norm, eps},
                   {qkvg_ + query + head * head_dim, stride}, {key_ + head * head_dim, kv},
                   inverse_key_ + head * n);
  }
  RotateHeads(frame, false, {query_, query}, {key_, kv});
  AttentionForward<T>(shape(), frame.documents, Input(), {attended_, query}, log_sums_,
                      scratch.attention);
  GateForward<T>(n, query, {attended_, query}, {qkvg_ + query + 2 * kv, stride},
                 {scratch.gated, query});
  LinearForward(layer.output, 0, frame.weights, n, scratch.gated, y_);
  AddNormForward<T>({n, d, values + layer.post_attention_norm, eps}, {y_, d}, {x, d}, {after, d},
                    inverse_y_);
}

template <typename T>
void AttentionBlock<T>::Backward(const RowFrame<T>& frame, const T* x, T* dx, T* gradients,
                                 const AttentionScratchRows<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = frame.tokens, d = spec_.d_model, head_dim = spec_.head_dim;
  const size_t query = spec_.query_width(), kv = spec_.kv_width(), stride = 2 * (query + kv);
  const T eps = spec_.norm_eps;
  NormBackward<T>({n, d, values + layer.post_attention_norm, eps}, {y_, d}, inverse_y_, {dx, d},
                  {scratch.dy, d}, false, gradients + layer.post_attention_norm);
  LinearBackInput(layer.output, 0, frame.weights, n, scratch.dy, scratch.dgated, GemmMode::kSet);
  const Strided<T> gate = {qkvg_ + query + 2 * kv, stride};
  GateForward<T>(n, query, {attended_, query}, gate, {scratch.gated, query});
  LinearBackWeight(layer.output, 0, n, scratch.dy, scratch.gated, GemmMode::kSet, gradients);
  const Strided<T> dquery = {scratch.dqkvg, stride}, dkey = {scratch.dqkvg + query, stride};
  GateBackward<T>(n, query, {attended_, query}, gate, {scratch.dgated, query},
                  {scratch.doutput, query}, {scratch.dqkvg + query + 2 * kv, stride});
  AttentionBackward<T>(shape(), frame.documents, Input(), {attended_, query}, log_sums_,
                       {scratch.doutput, query},
                       {dquery, dkey, {scratch.dqkvg + query + kv, stride}}, scratch.attention);
  RotateHeads(frame, true, dquery, dkey);
  for (size_t head = 0; head < spec_.query_heads; ++head) {
    const Strided<T> dhead = {dquery.data + head * head_dim, stride};
    NormBackward<T>({n, head_dim, values + layer.query_norm, eps},
                    {qkvg_ + head * head_dim, stride}, inverse_query_ + head * n, dhead, dhead,
                    false, gradients + layer.query_norm);
  }
  for (size_t head = 0; head < spec_.kv_heads; ++head) {
    const Strided<T> dhead = {dkey.data + head * head_dim, stride};
    NormBackward<T>({n, head_dim, values + layer.key_norm, eps},
                    {qkvg_ + query + head * head_dim, stride}, inverse_key_ + head * n, dhead,
                    dhead, false, gradients + layer.key_norm);
  }
  LinearBackWeight(layer.qkvg, 0, n, scratch.dqkvg, h_, GemmMode::kSet, gradients);
  LinearBackInput(layer.qkvg, 0, frame.weights, n, scratch.dqkvg, scratch.dy, GemmMode::kSet);
  NormBackward<T>({n, d, values + layer.input_norm, eps}, {x, d}, inverse_h_, {scratch.dy, d},
                  {dx, d}, true, gradients + layer.input_norm);
}

template struct AttentionScratchRows<float>;
template struct AttentionScratchRows<double>;
template class AttentionBlock<float>;
template class AttentionBlock<double>;

}  // namespace tessera::trainer
