#pragma once

// The routed experts of one layer on a batch: gate, sort by expert, and per expert gather,
// products. Nothing is dropped and nothing padded, and each expert's weights are read once a way.
//
//   h --router--> scores --top_k of score + bias--> slots sorted by expert
//     --gather--> gate_up --SwiGLU--> down --> results, a row a slot --times weight--> added to m

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "services/trainer/backward/attention_block.h"

namespace tessera::trainer {

// What a batch writes on its way through a layer and no other layer needs.
template <typename T>
struct MoeRows {
  T* scores;         // [tokens, experts]
  T* dscores;        // [tokens, experts]; for the balance loss only
  T* results;        // [slots, d_model], sorted by expert: what experts give back, either way
  T* dslot_weights;  // [tokens, top_k], like the one below
  T* dlogits;        // of the router, of the chosen experts
  void Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max);
};

// Memory of one thread.
template <typename T>
struct MoeScratch {
  T* rows;          // blocks of gathered rows [block, d_model]
  T* act;           // [block, width], like the one below
  T* dact;          //
  T* dgate_up;      // [block, 2 * width]
  T* slot_weights;  // [block], like the one below
  T* dots;
  T* gate_up_panels;
  T* down_panels;
  void Take(Slab<T>& slab, const ModelSpec& spec);
};

// What one layer keeps for the way back. Functions of a span, of an expert, or of a range of
// experts may run side by side; between two kinds of them all must have ended.
template <typename T>
class Moe {
 public:
  Moe(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab);

  // Forward, in this order. h [tokens, d_model] must stay as it is until the way back is done.
  void Route(const RowFrame<T>& frame, const RowSpan& span, const T* h, const MoeRows<T>& rows);
  void Sort(const RowFrame<T>& frame, const MoeRows<T>& rows);
  void ExpertForward(const RowFrame<T>& frame, size_t expert, const T* h, const MoeRows<T>& rows,
                     const MoeScratch<T>& scratch);
  // m [tokens, d_model] += sum of weight * expert(h).
  void Combine(const RowSpan& span, T* m, const MoeRows<T>& rows) const;

  // The way back, in this order.
  void ExpertBackward(const RowFrame<T>& frame, size_t expert, const T* h, const T* dm,
                      T* gradients, const MoeRows<T>& rows, const MoeScratch<T>& scratch) const;
  // dh += the gradient that comes through experts and router.
  //   balance_weight  of the sequence-wise balance loss, of each sequence E / (k T) sum_e n_e
  //   mean_t
  //                   (s_te / sum_e s_te), whose gradient is added; 0: none.
  void RouterBackward(const RowFrame<T>& frame, const RowSpan& span, const T* h, T balance_weight,
                      T* dh, const MoeRows<T>& rows) const;
  // The router's gradient: its rows [begin, end).
  void RouterGradient(const RowFrame<T>& frame, size_t begin, size_t end, const T* h, bool balance,
                      T* gradients, const MoeRows<T>& rows) const;

  // Of the last Sort: the balance loss of all sequences if the frame has any, and the rows of each
  // expert, [experts].
  double balance() const { return balance_; }
  const std::vector<uint32_t>& counts() const { return counts_; }

 private:
  void Choose(const T* scores, const T* bias, size_t token);
  double BalanceLoss(std::span<const uint32_t> sequences, const T* scores);
  void BalanceBackward(const RowFrame<T>& frame, const RowSpan& span, const T* h, T weight, T* dh,
                       const MoeRows<T>& rows) const;

  const ModelSpec& spec_;
  const size_t layer_;
  double balance_ = 0;
  T* chosen_scores_;                       // [tokens, top_k]
  T* weights_;                             // [tokens, top_k]
  T* gate_up_;                             // [slots, 2 * width], sorted by expert
  std::vector<uint32_t> experts_;          // [tokens, top_k], ascending in a row
  std::vector<uint32_t> slots_;            // sorted by expert: token * top_k + which
  std::vector<uint32_t> places_;           // [tokens, top_k]: where in slots_
  std::vector<uint32_t> begins_;           // [experts + 1], into slots_
  std::vector<uint32_t> counts_;           // [experts]
  std::vector<uint32_t> position_;         // [experts]; scratch of the sort
  std::vector<uint32_t> sequence_counts_;  // [sequences, experts]
};

}  // namespace tessera::trainer
