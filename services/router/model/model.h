#pragma once

// The arithmetic of AFMoE between the rooms: one method per station of the engine's step.
//
//   ids --Embed--> hidden --Attend--> hidden --Gate--> routed --(experts)--> sum --AddMoe--> hidden
//   --Project--> logits
//
// Each branch is normed before and after (sandwich norm): hidden += norm(f(norm(hidden))).

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/kernels/attention.h"
#include "common/kernels/compute.h"
#include "common/kernels/rope.h"
#include "common/model/model_spec.h"
#include "common/moe/routing.h"
#include "common/tensor/matrix.h"
#include "services/router/model/model_weights.h"

namespace tessera::router {

// The rows of a step as one layer's attention sees them.
struct AttendRows {
  std::span<const kernels::AttentionRow> rows;  // block tables of the layer's group, and positions
  std::span<const uint32_t> positions;          // [rows], the same positions
  std::span<const uint32_t> kept;               // ascending rows that go on to the next station
};

// Owned by the engine thread: its methods share scratch memory, and views they return live until
// the next call of the same method. `hidden` is [rows, d_model] float32 throughout.
class Model {
 public:
  // `weights` and `compute` are borrowed. rows_max: most rows of a step.
  Model(const ModelSpec& spec, const ModelWeights& weights, const kernels::Compute& compute,
        size_t rows_max);

  size_t layer_count() const { return spec_.layer_count; }
  bool is_dense(LayerIndex layer) const { return spec_.is_dense(ToIndex(layer)); }
  const ModelSpec& spec() const { return spec_; }

  // hidden.row(i) = embedding of ids[i], times sqrt(d_model) where the model says so.
  void Embed(std::span<const TokenId> ids, MatrixView hidden);

  // Norm, attention over the cache with the new keys and values stored first, output gate, norm,
  // residual. Every row's key and value are stored; only the kept rows are attended and returned:
  // the first kept.size() rows of `hidden` in their order (the last layer needs no more than the
  // rows that sample).
  MatrixView Attend(LayerIndex layer, const kernels::KvLayerView& kv, const AttendRows& rows,
                    MatrixView hidden);

  // A dense layer's second half: norm, SwiGLU, norm, residual.
  void DenseMlp(LayerIndex layer, MatrixView hidden);

  // A MoE layer's norm and gate: the rows that travel and where they go.
  Routed Gate(LayerIndex layer, MatrixView hidden);

  // After Gate, before anything else of the layer: chooses the experts of `row` again without those
  // in `missing` (ascending ids), as if the gate had never known them. False, and nothing changed,
  // if fewer than top_k are left.
  bool GateWithout(LayerIndex layer, size_t row, std::span<const uint32_t> missing);

  // sum = the shared expert's output of the rows; zero if the model has none.
  void SharedExpert(LayerIndex layer, const Routed& routed, MatrixView sum);

  // hidden += norm(shared + experts).
  void AddMoe(LayerIndex layer, MatrixView shared, ConstMatrixView experts, MatrixView hidden);

  // Logits of hidden rows: final norm and head. logits [rows, vocab].
  void Project(ConstMatrixView hidden, MatrixView logits);

 private:
  void ProjectHeads(const LayerWeights& layer, const AttendRows& rows, MatrixView hidden,
                    MatrixView kept_normed);

  const ModelSpec& spec_;
  const ModelWeights& weights_;
  const kernels::Compute& compute_;
  const kernels::Compute exact_;  // the gate's logits are float32 whatever the rest computes in
  const kernels::Rope rope_;
  const float embedding_scale_;

  // Scratch, [rows_max, ...].
  Matrix normed_;                      // [d_model]
  Matrix query_;                       // [query_width]
  Matrix key_;                         // [kv_width]
  Matrix value_;                       // [kv_width]
  Matrix gate_;                        // [query_width]
  Matrix attended_;                    // [query_width]
  Matrix branch_;                      // [d_model]
  Matrix expert_logits_;               // [expert_count]
  std::vector<uint32_t> experts_;      // [rows_max, top_k]
  std::vector<float> expert_weights_;  // [rows_max, top_k]
  std::vector<kernels::AttentionRow> kept_rows_;
  std::vector<uint32_t> kept_positions_;
};

}  // namespace tessera::router
