#include "services/trainer/backward/attention_block.h"

namespace tessera::trainer {

template <typename T>
void AttentionRows<T>::Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max) {
  gated = slab.Take(tokens_max * spec.query_width());
  dgated = slab.Take(tokens_max * spec.query_width());
  dqkvg = slab.Take(tokens_max * 2 * (spec.query_width() + spec.kv_width()));
  doutput = slab.Take(tokens_max * spec.query_width());
  dy = slab.Take(tokens_max * spec.d_model);
  dh = slab.Take(tokens_max * spec.d_model);
}

template <typename T>
AttentionBlock<T>::AttentionBlock(const ModelSpec& spec, size_t layer, size_t tokens_max,
                                  Slab<T>& slab)
    : spec_(spec), layer_(layer), tokens_max_(tokens_max) {
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
void AttentionBlock<T>::RotateHeads(const RowFrame<T>& frame, const RowSpan& span, bool backwards,
                                    Strided<T> query, Strided<T> key) const {
  if (spec_.layer_kinds[layer_] != LayerKind::kSliding) return;
  const size_t d = spec_.head_dim;
  for (size_t i = 0; i + 1 < span.documents.size(); ++i) {
    const size_t begin = span.documents[i], rows = span.documents[i + 1] - begin;
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
void AttentionBlock<T>::HeadNormsForward(const RowFrame<T>& frame, const RowSpan& span) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = span.size(), t = span.begin, d = spec_.head_dim;
  const size_t query = spec_.query_width(), kv = spec_.kv_width(), stride = 2 * (query + kv);
  const T eps = spec_.norm_eps;
  const T* from = qkvg_ + t * stride;
  for (size_t head = 0; head < spec_.query_heads; ++head) {
    NormForward<T>({n, d, values + layer.query_norm, eps}, {from + head * d, stride},
                   {query_ + t * query + head * d, query}, inverse_query_ + head * tokens_max_ + t);
  }
  for (size_t head = 0; head < spec_.kv_heads; ++head) {
    NormForward<T>({n, d, values + layer.key_norm, eps}, {from + query + head * d, stride},
                   {key_ + t * kv + head * d, kv}, inverse_key_ + head * tokens_max_ + t);
  }
}

template <typename T>
void AttentionBlock<T>::Forward(const RowFrame<T>& frame, const RowSpan& span, const T* x, T* after,
                                const AttentionRows<T>& rows, const AttentionScratch<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = span.size(), t = span.begin, d = spec_.d_model;
  const size_t query = spec_.query_width(), kv = spec_.kv_width(), stride = 2 * (query + kv);
  const T eps = spec_.norm_eps;
  T *h = h_ + t * d, *qkvg = qkvg_ + t * stride, *y = y_ + t * d;
  T *attended = attended_ + t * query, *gated = rows.gated + t * query;
  NormForward<T>({n, d, values + layer.input_norm, eps}, {x + t * d, d}, {h, d}, inverse_h_ + t);
  LinearForward(layer.qkvg, frame.weights, n, h, qkvg);
  HeadNormsForward(frame, span);
  RotateHeads(frame, span, false, {query_, query}, {key_, kv});
  AttentionForward<T>(shape(), span.documents, Input(), {attended_, query},
                      {log_sums_, tokens_max_}, scratch);
  GateForward<T>(n, query, {attended, query}, {qkvg + query + 2 * kv, stride}, {gated, query});
  LinearForward(layer.output, frame.weights, n, gated, y);
  AddNormForward<T>({n, d, values + layer.post_attention_norm, eps}, {y, d}, {x + t * d, d},
                    {after + t * d, d}, inverse_y_ + t);
}

template <typename T>
void AttentionBlock<T>::HeadNormsBackward(const RowFrame<T>& frame, const RowSpan& span,
                                          Strided<T> dqkvg, const NormGradients<T>& norms) const {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = span.size(), t = span.begin, d = spec_.head_dim, query = spec_.query_width();
  const T eps = spec_.norm_eps;
  const Strided<const T> x = {qkvg_ + t * dqkvg.stride, dqkvg.stride};
  for (size_t head = 0; head < spec_.query_heads; ++head) {
    const Strided<T> dhead = {dqkvg.data + head * d, dqkvg.stride};
    NormBackward<T>({n, d, values + layer.query_norm, eps}, {x.data + head * d, x.stride},
                    inverse_query_ + head * tokens_max_ + t, dhead, dhead, false, norms.query);
  }
  for (size_t head = 0; head < spec_.kv_heads; ++head) {
    const Strided<T> dhead = {dqkvg.data + query + head * d, dqkvg.stride};
    NormBackward<T>({n, d, values + layer.key_norm, eps}, {x.data + query + head * d, x.stride},
                    inverse_key_ + head * tokens_max_ + t, dhead, dhead, false, norms.key);
  }
}

template <typename T>
void AttentionBlock<T>::Backward(const RowFrame<T>& frame, const RowSpan& span, const T* x, T* dx,
                                 const NormGradients<T>& norms, const AttentionRows<T>& rows,
                                 const AttentionScratch<T>& scratch) {
  const LayerParameters& layer = frame.layout.layers[layer_];
  const T* values = frame.weights.values;
  const size_t n = span.size(), t = span.begin, d = spec_.d_model;
  const size_t query = spec_.query_width(), kv = spec_.kv_width(), stride = 2 * (query + kv);
  const T eps = spec_.norm_eps;
  const Strided<T> dspan = {dx + t * d, d}, dy = {rows.dy + t * d, d};
  T* dqkvg = rows.dqkvg + t * stride;
  NormBackward<T>({n, d, values + layer.post_attention_norm, eps}, {y_ + t * d, d}, inverse_y_ + t,
                  dspan, dy, false, norms.post_attention);
  LinearBackInput(layer.output, frame.weights, n, dy.data, rows.dgated + t * query);
  const Strided<T> gate = {qkvg_ + t * stride + query + 2 * kv, stride};
  const Strided<const T> attended = {attended_ + t * query, query};
  GateBackward<T>(n, query, attended, gate,
                  {.dy = {rows.dgated + t * query, query},
                   .y = {rows.gated + t * query, query},
                   .dx = {rows.doutput + t * query, query},
                   .dgate = {dqkvg + query + 2 * kv, stride}});
  const Strided<T> dquery = {rows.dqkvg, stride}, dkey = {rows.dqkvg + query, stride};
  AttentionBackward<T>(shape(), span.documents, Input(), {attended_, query},
                       {log_sums_, tokens_max_}, {rows.doutput, query},
                       {dquery, dkey, {rows.dqkvg + query + kv, stride}}, scratch);
  RotateHeads(frame, span, true, dquery, dkey);
  HeadNormsBackward(frame, span, {dqkvg, stride}, norms);
  const Strided<T> dh = {rows.dh + t * d, d};
  LinearBackInput(layer.qkvg, frame.weights, n, dqkvg, dh.data);
  NormBackward<T>({n, d, values + layer.input_norm, eps}, {x + t * d, d}, inverse_h_ + t, dh, dspan,
                  true, norms.input);
}

template <typename T>
void AttentionBlock<T>::AppendGradients(const RowFrame<T>& frame, const AttentionRows<T>& rows,
                                        std::vector<WeightGradient<T>>& products) const {
  const LayerParameters& layer = frame.layout.layers[layer_];
  AppendGradient<T>(layer.qkvg, frame.tokens, rows.dqkvg, h_, products);
  AppendGradient<T>(layer.output, frame.tokens, rows.dy, rows.gated, products);
}

template struct AttentionRows<float>;
template struct AttentionRows<double>;
template class AttentionBlock<float>;
template class AttentionBlock<double>;

}  // namespace tessera::trainer
