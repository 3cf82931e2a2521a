#pragma once

// The rows of one step.
//
//   rows   | decode: one a sequence | chunk of prompt A | chunk of prompt B |
//
// Rows of one sequence follow each other in ascending position. Made by the scheduler, read by
// model, dispatch and sampler, handed back to the scheduler by Commit or Abort.
// Owned by the engine thread; readable from compute threads during the step.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/kernels/attention.h"
#include "common/model/model_spec.h"
#include "services/router/sequence/sequence.h"

namespace tessera::router {

class StepBatch {
 public:
  // Consecutive rows of one sequence: positions committed() .. committed() + row_count - 1.
  struct Chunk {
    Sequence* sequence = nullptr;
    uint32_t row_begin = 0;
    uint32_t row_count = 0;
  };
  // A row whose logits decide the next token of its sequence.
  struct Sample {
    Sequence* sequence = nullptr;
    uint32_t logits_index = 0;  // into logits_rows(): the row of the logits matrix
  };
  // A prompt position whose logits were asked for.
  struct PromptLogits {
    Sequence* sequence = nullptr;
    uint32_t position = 0;
    uint32_t logits_index = 0;
  };

  bool empty() const { return token_ids_.empty(); }
  size_t row_count() const { return token_ids_.size(); }
  size_t decode_row_count() const { return decode_row_count_; }  // the leading rows

  std::span<const TokenId> token_ids() const { return token_ids_; }   // [rows]
  std::span<const uint32_t> positions() const { return positions_; }  // [rows]
  // [rows], of the group of layers of that kind; empty if the model has none. The spans inside
  // stay valid until Commit or Abort.
  std::span<const kernels::AttentionRow> attention_rows(LayerKind kind) const {
    return kind == LayerKind::kFull ? full_rows_ : sliding_rows_;
  }
  std::span<const Chunk> chunks() const { return chunks_; }

  // Rows to project to logits, ascending: the union of samples() and prompt_logits().
  std::span<const uint32_t> logits_rows() const { return logits_rows_; }
  std::span<const Sample> samples() const { return samples_; }
  std::span<const PromptLogits> prompt_logits() const { return prompt_logits_; }

  // For the scheduler: adds the next `row_count` (> 0) uncommitted rows of `sequence`, whose block
  // tables already reach them. Decode rows are added before any other.
  void Add(Sequence& sequence, size_t row_count, bool is_decode);

 private:
  std::vector<TokenId> token_ids_;
  std::vector<uint32_t> positions_;
  std::vector<kernels::AttentionRow> full_rows_;
  std::vector<kernels::AttentionRow> sliding_rows_;
  std::vector<Chunk> chunks_;
  std::vector<uint32_t> logits_rows_;
  std::vector<Sample> samples_;
  std::vector<PromptLogits> prompt_logits_;
  size_t decode_row_count_ = 0;
};

}  // namespace tessera::router
