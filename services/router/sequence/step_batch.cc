#include "services/router/sequence/step_batch.h"

#include "common/base/check.h"

namespace tessera::router {

void StepBatch::Add(Sequence& sequence, size_t row_count, bool is_decode) {
  TESSERA_CHECK(row_count > 0 && row_count <= sequence.uncommitted_count());
  TESSERA_CHECK(!is_decode || decode_row_count_ == this->row_count());
  const size_t begin = sequence.committed();
  const size_t end = begin + row_count;
  const BlockTables& tables = sequence.tables();
  chunks_.push_back(
      {&sequence, static_cast<uint32_t>(this->row_count()), static_cast<uint32_t>(row_count)});
  for (size_t position = begin; position < end; ++position) {
    const uint32_t row = static_cast<uint32_t>(this->row_count());
    const uint32_t position32 = static_cast<uint32_t>(position);
    token_ids_.push_back(sequence.tokens()[position]);
    positions_.push_back(position32);
    // A group the model does not have leaves its table empty, for every sequence alike.
    if (!tables.full.empty()) full_rows_.push_back({tables.full, position32});
    if (!tables.sliding.empty()) sliding_rows_.push_back({tables.sliding, position32});

    const bool is_asked_for = sequence.wants_prompt_logits() &&
                              position < sequence.prompt_count() &&
                              position >= sequence.prompt_logits_done();
    const bool is_sampled = position + 1 == sequence.token_count() && sequence.wants_token();
    if (!is_asked_for && !is_sampled) continue;
    const uint32_t logits_index = static_cast<uint32_t>(logits_rows_.size());
    logits_rows_.push_back(row);
    if (is_asked_for) prompt_logits_.push_back({&sequence, position32, logits_index});
    if (is_sampled) samples_.push_back({&sequence, logits_index});
  }
  if (is_decode) decode_row_count_ += row_count;
}

}  // namespace tessera::router
