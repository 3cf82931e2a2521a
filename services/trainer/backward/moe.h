#pragma once

// The routed experts of one layer on one packed row: gate, sort by expert, and per expert gather,
// products, scatter. Nothing is dropped and nothing padded.
//
//   h --router--> scores --top_k of score + bias--> slots sorted by expert
//     --gather--> gate_up --SwiGLU--> down --times weight, scatter--> added to m

#include <cstddef>
#include <cstdint>
#include <vector>

#include "services/trainer/backward/attention_block.h"

namespace tessera::trainer {

template <typename T>
struct MoeScratch {
  T* scores;   // [tokens, experts]
  T* dscores;  // [tokens, experts]; for the balance loss only
  T* rows;     // blocks of gathered rows [block, d_model], like the one below
  T* results;
  T* act;            // [block, width], like the two below
  T* dact;           //
  T* weighted;       //
  T* dgate_up;       // [block, 2 * width]
  T* slot_weights;   // [block]
  T* dslot_weights;  // [tokens, top_k]
  void Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max);
};

// What one layer keeps for the way back.
template <typename T>
class Moe {
 public:
  Moe(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab);

  // m [tokens, d_model] += sum of weight * expert(h). h must stay as it is until Backward.
  void Forward(const RowFrame<T>& frame, const T* h, T* m, const MoeScratch<T>& scratch);
  // dh += the gradient that comes through experts and router.
  //   balance_weight  of the sequence-wise balance loss of this row, E / (k T) sum_e n_e mean_t
  //                   (s_te / sum_e s_te), whose gradient is added; 0: none.
  void Backward(const RowFrame<T>& frame, const T* h, const T* dm, T balance_weight, T* dh,
                T* gradients, const MoeScratch<T>& scratch);

  // Of the last Forward: the balance loss if the frame wanted it, and the rows of each expert,
  // [experts].
  double balance() const { return balance_; }
  const std::vector<uint32_t>& counts() const { return counts_; }

 private:
  void Choose(const T* scores, const T* bias, size_t token);
  void SortSlots(size_t tokens);
  double BalanceLoss(size_t tokens, const T* scores) const;
  void ExpertForward(const RowFrame<T>& frame, size_t expert, const T* h, T* m,
                     const MoeScratch<T>& scratch);
  void ExpertBackward(const RowFrame<T>& frame, size_t expert, const T* h, const T* dm, T* dh,
                      T* gradients, const MoeScratch<T>& scratch);
  void RouterBackward(const RowFrame<T>& frame, const T* h, T* dh, T* gradients,
                      const MoeScratch<T>& scratch);
  void BalanceBackward(const RowFrame<T>& frame, const T* h, T weight, T* dh, T* gradients,
                       const MoeScratch<T>& scratch);

  const ModelSpec& spec_;
  const size_t layer_;
  double balance_ = 0;
  T* chosen_scores_;                // [tokens, top_k]
  T* weights_;                      // [tokens, top_k]
  T* gate_up_;                      // [slots, 2 * width], sorted by expert
  std::vector<uint32_t> experts_;   // [tokens, top_k], ascending in a row
  std::vector<uint32_t> slots_;     // sorted by expert: token * top_k + which
  std::vector<uint32_t> begins_;    // [experts + 1], into slots_
  std::vector<uint32_t> counts_;    // [experts]
  std::vector<uint32_t> position_;  // [experts]; scratch of the sort
};

}  // namespace tessera::trainer
