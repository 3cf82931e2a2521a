#include "tests/support/reference_forward.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/tensor/tensor_view.h"

namespace tessera::testing {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

Row ReadStored(const TensorView& tensor, size_t row) {
  std::vector<float> values(tensor.cols);
  ReadRow(tensor, row, values);
  return Row(values.begin(), values.end());
}

Rows MatMul(const TensorView& w, const Rows& x) {
  Rows y(x.size(), Row(w.rows));
  for (size_t o = 0; o < w.rows; ++o) {
    const Row weights = ReadStored(w, o);
    for (size_t r = 0; r < x.size(); ++r) {
      y[r][o] = std::inner_product(weights.begin(), weights.end(), x[r].begin(), 0.0);
    }
  }
  return y;
}

double Sigmoid(double v) { return 1.0 / (1.0 + std::exp(-v)); }

void NormRow(std::span<double> x, const TensorView& weight, double eps) {
  const Row w = ReadStored(weight, 0);
  const double mean =
      std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / static_cast<double>(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] / std::sqrt(mean + eps) * w[i];
}

Rows Norm(Rows x, const TensorView& weight, double eps) {
  for (Row& row : x) NormRow(row, weight, eps);
  return x;
}

void Add(const Rows& from, Rows& to) {
  for (size_t r = 0; r < to.size(); ++r) {
    for (size_t i = 0; i < to[r].size(); ++i) to[r][i] += from[r][i];
  }
}

Rows SwiGlu(const SwiGluTensors& network, const Rows& x) {
  Rows gate = MatMul(network.gate, x);
  const Rows up = MatMul(network.up, x);
  for (size_t r = 0; r < x.size(); ++r) {
    for (size_t i = 0; i < gate[r].size(); ++i) gate[r][i] *= Sigmoid(gate[r][i]) * up[r][i];
  }
  return MatMul(network.down, gate);
}

// Norms every head of row `position`, then turns it if the layer has positions.
void PrepareHeads(const ModelSpec& spec, const TensorView& norm, bool sliding, size_t position,
                  Row& row) {
  const size_t half = spec.head_dim / 2;
  for (size_t head = 0; head < row.size() / spec.head_dim; ++head) {
    const std::span<double> x(row.data() + head * spec.head_dim, spec.head_dim);
    NormRow(x, norm, static_cast<double>(spec.norm_eps));
    if (!sliding) continue;
    for (size_t j = 0; j < half; ++j) {
      const double angle = static_cast<double>(position) *
                           std::pow(spec.rope_theta, -2.0 * static_cast<double>(j) /
                                                         static_cast<double>(spec.head_dim));
      const double a = x[j], b = x[j + half];
      x[j] = a * std::cos(angle) - b * std::sin(angle);
      x[j + half] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
}

Rows Attention(const ModelSpec& spec, const AttentionTensors& w, bool sliding, const Rows& x) {
  Rows q = MatMul(w.query, x), k = MatMul(w.key, x);
  const Rows v = MatMul(w.value, x), gate = MatMul(w.gate, x);
  for (size_t t = 0; t < x.size(); ++t) {
    PrepareHeads(spec, w.query_norm, sliding, t, q[t]);
    PrepareHeads(spec, w.key_norm, sliding, t, k[t]);
  }
  const size_t d = spec.head_dim, group = spec.query_heads / spec.kv_heads;
  Rows out(x.size(), Row(spec.query_width()));
  for (size_t t = 0; t < x.size(); ++t) {
    const size_t first = sliding && t + 1 > spec.sliding_window ? t + 1 - spec.sliding_window : 0;
    for (size_t head = 0; head < spec.query_heads; ++head) {
      const size_t kv = head / group * d;
      Row p;
      for (size_t s = first; s <= t; ++s) {
        const double dot = std::inner_product(q[t].begin() + static_cast<ptrdiff_t>(head * d),
                                              q[t].begin() + static_cast<ptrdiff_t>((head + 1) * d),
                                              k[s].begin() + static_cast<ptrdiff_t>(kv), 0.0);
        p.push_back(std::exp(dot / std::sqrt(static_cast<double>(d))));
      }
      const double sum = std::accumulate(p.begin(), p.end(), 0.0);
      for (size_t i = 0; i < d; ++i) {
        double value = 0;
        for (size_t s = first; s <= t; ++s) value += p[s - first] / sum * v[s][kv + i];
        out[t][head * d + i] = value * Sigmoid(gate[t][head * d + i]);
      }
    }
  }
  return MatMul(w.output, out);
}

Rows Moe(const ModelSpec& spec, const ModelManifest& manifest, size_t layer, const LayerTensors& w,
         const Rows& x) {
  const Rows logits = MatMul(w.gate, x);
  const Row bias = ReadStored(w.expert_bias, 0);
  Rows sum = spec.shared_expert_count > 0 ? SwiGlu(w.mlp, x) : Rows(x.size(), Row(spec.d_model));
  for (size_t r = 0; r < x.size(); ++r) {
    std::vector<size_t> ids(spec.expert_count);
    std::iota(ids.begin(), ids.end(), size_t{0});
    const auto score = [&](size_t e) { return Sigmoid(logits[r][e]) + bias[e]; };
    std::stable_sort(ids.begin(), ids.end(),
                     [&](size_t a, size_t b) { return score(a) > score(b); });
    ids.resize(spec.top_k);
    double norm = 0;
    for (size_t e : ids) norm += Sigmoid(logits[r][e]);
    if (!spec.route_normalize) norm = 1;
    for (size_t e : ids) {
      const SwiGluTensors& expert = manifest.expert(LayerIndex{static_cast<uint32_t>(layer)},
                                                    ExpertId{static_cast<uint32_t>(e)});
      const Rows y = SwiGlu(expert, {x[r]});
      const double weight = Sigmoid(logits[r][e]) / norm * static_cast<double>(spec.route_scale);
      for (size_t i = 0; i < spec.d_model; ++i) sum[r][i] += weight * y[0][i];
    }
  }
  return sum;
}

}  // namespace

std::vector<std::vector<double>> ReferenceForward(const ModelSpec& spec,
                                                  const ModelManifest& manifest,
                                                  std::span<const TokenId> ids) {
  const RouterTensors& tensors = manifest.router();
  const auto eps = static_cast<double>(spec.norm_eps);
  Rows hidden;
  for (TokenId id : ids) {
    hidden.push_back(ReadStored(tensors.embeddings, static_cast<size_t>(id)));
    if (!spec.embedding_scaled) continue;
    for (double& value : hidden.back()) value *= std::sqrt(static_cast<double>(spec.d_model));
  }
  for (size_t layer = 0; layer < spec.layer_count; ++layer) {
    const LayerTensors& w = tensors.layers[layer];
    const bool sliding = spec.layer_kinds[layer] == LayerKind::kSliding;
    const Rows attended = Attention(spec, w.attention, sliding, Norm(hidden, w.input_norm, eps));
    Add(Norm(attended, w.post_attention_norm, eps), hidden);
    const Rows normed = Norm(hidden, w.pre_mlp_norm, eps);
    const Rows mlp =
        spec.is_dense(layer) ? SwiGlu(w.mlp, normed) : Moe(spec, manifest, layer, w, normed);
    Add(Norm(mlp, w.post_mlp_norm, eps), hidden);
  }
  return MatMul(tensors.head, Norm(hidden, tensors.final_norm, eps));
}

}  // namespace tessera::testing
