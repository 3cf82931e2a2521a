#pragma once

// The step of all parameters: Muon for hidden matrices, each expert's on its own, AdamW for
// embeddings, head, norms and routers.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/concurrency/thread_pool.h"
#include "services/trainer/backward/parameters.h"
#include "services/trainer/optimizer/adamw.h"
#include "services/trainer/optimizer/muon.h"

namespace tessera::trainer {

struct OptimizerOptions {
  AdamOptions adam;
  double adam_rate = 3e-3;
  MuonOptions muon;
  double muon_rate = 0.02;
  double clip_norm = 1.0;  // of all gradients together; 0: no clipping
};

// Owned by the thread that owns the pool. The result does not depend on the number of threads.
class Optimizer {
 public:
  // `layout` and `pool` are borrowed.
  Optimizer(const ParameterLayout& layout, const OptimizerOptions& options, ThreadPool& pool);

  // One step by `gradients` [layout.size]. step: 1 for the first; rate_scale times both rates.
  // Returns the gradients' norm before clipping.
  double Step(uint64_t step, double rate_scale, std::span<const float> gradients,
              std::span<float> weights);

  // What a checkpoint keeps: [layout.size] and AdamW's [..].
  std::span<float> mutable_first() { return first_; }
  std::span<float> mutable_second() { return second_; }

 private:
  // Matrices [begin, end) of a parameter.
  struct Piece {
    const Parameter* parameter;
    size_t begin;
    size_t end;
    size_t second;  // AdamW: where the parameter begins in second_
  };
  double NormOf(std::span<const float> gradients);
  void StepPiece(const Piece& piece, uint64_t step, double rate_scale, const float* gradient,
                 float gradient_scale, float* weights, MuonScratch& scratch);

  const ParameterLayout& layout_;
  const OptimizerOptions options_;
  ThreadPool& pool_;
  std::vector<Piece> pieces_;  // dearest first
  std::vector<float> first_;   // [layout.size]; Muon's momentum, AdamW's first moment
  std::vector<float> second_;
  std::vector<MuonScratch> scratch_;  // of each thread
};

}  // namespace tessera::trainer
