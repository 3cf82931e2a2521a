#include "services/router/model/model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/kernels/matmul.h"
#include "common/kernels/rms_norm.h"
#include "common/kernels/swiglu.h"
#include "common/kernels/top_k.h"

namespace tessera::router {
namespace {

kernels::Compute WithFloat32(kernels::Compute compute) {
  compute.arithmetic = kernels::Arithmetic::kFloat32;
  return compute;
}

MatrixView FirstRows(Matrix& matrix, size_t rows) { return matrix.view().Rows(0, rows); }

// Moves the rows named by `kept` (ascending) to the front.
MatrixView KeepRows(std::span<const uint32_t> kept, MatrixView rows) {
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] != i) std::ranges::copy(rows.row(kept[i]), rows.row(i).begin());
  }
  return rows.Rows(0, kept.size());
}

}  // namespace

Model::Model(const ModelSpec& spec, const ModelWeights& weights, const kernels::Compute& compute,
             size_t rows_max)
    : spec_(spec),
      weights_(weights),
      compute_(compute),
      exact_(WithFloat32(compute)),
      rope_(spec.head_dim, spec.rope_theta),
      embedding_scale_(spec.embedding_scaled
                           ? static_cast<float>(std::sqrt(static_cast<double>(spec.d_model)))
                           : 1.0f),
      normed_(rows_max, spec.d_model),
      query_(rows_max, spec.query_width()),
      key_(rows_max, spec.kv_width()),
      value_(rows_max, spec.kv_width()),
      gate_(rows_max, spec.query_width()),
      attended_(rows_max, spec.query_width()),
      branch_(rows_max, spec.d_model),
      expert_logits_(rows_max, spec.expert_count),
      experts_(rows_max * spec.top_k),
      expert_weights_(rows_max * spec.top_k) {}

void Model::Embed(std::span<const TokenId> ids, MatrixView hidden) {
  for (size_t i = 0; i < ids.size(); ++i) {
    ReadRow(weights_.embedding, static_cast<size_t>(ids[i]), hidden.row(i));
    if (embedding_scale_ != 1.0f) {
      for (float& value : hidden.row(i)) value *= embedding_scale_;
    }
  }
}

void Model::ProjectHeads(const LayerWeights& layer, const AttendRows& rows, MatrixView normed,
                         MatrixView kept_normed) {
  const AttentionWeights& attention = layer.attention;
  const size_t all = rows.rows.size();
  const size_t kept = rows.kept.size();
  const kernels::MatMulTask tasks[] = {{&attention.key, normed, FirstRows(key_, all)},
                                       {&attention.value, normed, FirstRows(value_, all)},
                                       {&attention.query, kept_normed, FirstRows(query_, kept)},
                                       {&attention.gate, kept_normed, FirstRows(gate_, kept)}};
  kernels::MatMul(compute_, tasks);
}

MatrixView Model::Attend(LayerIndex index, const kernels::KvLayerView& kv, const AttendRows& rows,
                         MatrixView hidden) {
  const LayerWeights& layer = weights_.layers[ToIndex(index)];
  const bool sliding = spec_.layer_kinds[ToIndex(index)] == LayerKind::kSliding;
  const size_t all = rows.rows.size();
  const size_t kept = rows.kept.size();

  const MatrixView normed = FirstRows(normed_, all);
  kernels::RmsNorm(compute_, hidden, layer.input_norm, spec_.norm_eps, normed);
  // Where rows fall away, their normed rows are gathered for query and gate; `attended_` is free
  // until later.
  MatrixView kept_normed = normed;
  if (kept < all) {
    kept_normed = FirstRows(branch_, kept);
    for (size_t i = 0; i < kept; ++i)
      std::ranges::copy(normed.row(rows.kept[i]), kept_normed.row(i).begin());
  }
  ProjectHeads(layer, rows, normed, kept_normed);

  const MatrixView key = FirstRows(key_, all);
  const MatrixView query = FirstRows(query_, kept);
  kernels::RmsNormHeads(compute_, key, layer.attention.key_norm, spec_.norm_eps);
  kernels::RmsNormHeads(compute_, query, layer.attention.query_norm, spec_.norm_eps);
  kept_rows_.clear();
  kept_positions_.clear();
  for (uint32_t row : rows.kept) {
    kept_rows_.push_back(rows.rows[row]);
    kept_positions_.push_back(rows.positions[row]);
  }
  if (sliding) {
    rope_.Apply(compute_, rows.positions, key);
    rope_.Apply(compute_, kept_positions_, query);
  }
  kernels::StoreKv(compute_, kv, rows.rows, key, FirstRows(value_, all));

  const MatrixView attended = FirstRows(attended_, kept);
  kernels::PagedAttention(compute_, kv, kept_rows_, query, sliding ? spec_.sliding_window : 0,
                          attended);
  kernels::SigmoidGate(compute_, FirstRows(gate_, kept), attended);

  const MatrixView branch = FirstRows(branch_, kept);
  const kernels::MatMulTask output{&layer.attention.output, attended, branch};
  kernels::MatMul(compute_, {&output, 1});
  hidden = KeepRows(rows.kept, hidden);
  kernels::AddRmsNorm(compute_, branch, layer.post_attention_norm, spec_.norm_eps, hidden);
  return hidden;
}

void Model::DenseMlp(LayerIndex index, MatrixView hidden) {
  const LayerWeights& layer = weights_.layers[ToIndex(index)];
  const MatrixView normed = FirstRows(normed_, hidden.rows());
  const MatrixView branch = FirstRows(branch_, hidden.rows());
  kernels::RmsNorm(compute_, hidden, layer.pre_mlp_norm, spec_.norm_eps, normed);
  kernels::SwiGlu(compute_, layer.mlp, normed, branch);
  kernels::AddRmsNorm(compute_, branch, layer.post_mlp_norm, spec_.norm_eps, hidden);
}

Routed Model::Gate(LayerIndex index, MatrixView hidden) {
  const LayerWeights& layer = weights_.layers[ToIndex(index)];
  const size_t rows = hidden.rows();
  const MatrixView normed = FirstRows(normed_, rows);
  kernels::RmsNorm(compute_, hidden, layer.pre_mlp_norm, spec_.norm_eps, normed);

  const MatrixView logits = FirstRows(expert_logits_, rows);
  const kernels::MatMulTask gate{&layer.expert_gate, normed, logits};
  kernels::MatMul(exact_, {&gate, 1});
  const std::span experts = std::span(experts_).first(rows * spec_.top_k);
  const std::span weights = std::span(expert_weights_).first(rows * spec_.top_k);
  kernels::SelectExperts(
      compute_, logits, layer.expert_bias,
      {.top_k = spec_.top_k, .normalize = spec_.route_normalize, .scale = spec_.route_scale},
      experts, weights);
  return {normed, {rows, spec_.top_k, experts, weights}};
}

bool Model::GateWithout(LayerIndex index, size_t row, std::span<const uint32_t> missing) {
  if (missing.size() + spec_.top_k > spec_.expert_count) return false;
  // The gate looks at logits that are not numbers last.
  const MatrixView logits = expert_logits_.view().Rows(row, 1);
  for (const uint32_t expert : missing) {
    logits.row(0)[expert] = std::numeric_limits<float>::quiet_NaN();
  }
  kernels::SelectExperts(
      compute_, logits, weights_.layers[ToIndex(index)].expert_bias,
      {.top_k = spec_.top_k, .normalize = spec_.route_normalize, .scale = spec_.route_scale},
      std::span(experts_).subspan(row * spec_.top_k, spec_.top_k),
      std::span(expert_weights_).subspan(row * spec_.top_k, spec_.top_k));
  return true;
}

void Model::SharedExpert(LayerIndex index, const Routed& routed, MatrixView sum) {
  const LayerWeights& layer = weights_.layers[ToIndex(index)];
  if (spec_.shared_expert_count > 0) {
    kernels::SwiGlu(compute_, layer.mlp, routed.rows, sum);
    return;
  }
  for (size_t i = 0; i < sum.rows(); ++i) std::ranges::fill(sum.row(i), 0.0f);
}

void Model::AddMoe(LayerIndex index, MatrixView shared, ConstMatrixView experts,
                   MatrixView hidden) {
  const LayerWeights& layer = weights_.layers[ToIndex(index)];
  for (size_t i = 0; i < shared.rows(); ++i) {
    float* sum = shared.row(i).data();
    const float* routed = experts.row(i).data();
    for (size_t j = 0; j < shared.cols(); ++j) sum[j] += routed[j];
  }
  kernels::AddRmsNorm(compute_, shared, layer.post_mlp_norm, spec_.norm_eps, hidden);
}

void Model::Project(ConstMatrixView hidden, MatrixView logits) {
  const MatrixView normed = FirstRows(normed_, hidden.rows());
  kernels::RmsNorm(compute_, hidden, weights_.final_norm, spec_.norm_eps, normed);
  const kernels::MatMulTask head{&weights_.head, normed, logits};
  kernels::MatMul(compute_, {&head, 1});
}

}  // namespace tessera::router
