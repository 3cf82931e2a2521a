#pragma once

// One batch computed: calls of one layer, of several routers, straight from the memory they arrived
// in into the memory they are answered from.
//
//   calls' pairs --group by expert--> ExpertGroups --GroupedSwiGlu--> pair rows --add--> reply rows
//
// Each expert's weights are read once for all calls. A pair's bits do not depend on what else is in
// the batch, and a row's sum is added in ascending expert id, so neither do an answer's.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/kernels/swiglu.h"
#include "common/tensor/matrix_view.h"
#include "common/transport/exchange_server.h"
#include "services/expert_shard/experts/expert_table.h"

namespace tessera::expert_shard {

// Owned by the compute thread: keeps its scratch between batches.
class BatchFfn {
 public:
  // Borrowed.
  explicit BatchFfn(const kernels::Compute& compute) : compute_(compute) {}

  // Fills reply_rows() of each call: for every row the weighted sum over its experts, in float32 in
  // ascending expert id; for a strict call one weighted row per pair in the order of its pairs.
  // Requires calls of one layer and one d_model, whose slots all hold the experts they name.
  // Returns how many experts' weights were read.
  size_t Run(const ExpertTable& table, std::span<const IncomingCall> calls);

 private:
  // A row that is not float32: row `row` of *rows, number `number` of the batch.
  struct NarrowRow {
    const wire::RowsView* rows;
    size_t row;
    size_t number;
  };

  void GroupByExpert(const ExpertTable& table, std::span<const IncomingCall> calls);
  // The rows of all calls, numbered through: those of float32 where they arrived, others widened.
  kernels::RowSource Rows(std::span<const IncomingCall> calls);
  // Which pair rows add up to which reply row.
  void ListSources(std::span<const IncomingCall> calls);
  void WriteReplies(std::span<const IncomingCall> calls, ConstMatrixView pairs);
  void WriteReplyRow(std::span<const IncomingCall> calls, size_t out, ConstMatrixView pairs,
                     std::span<float> sum) const;

  const kernels::Compute& compute_;

  // Of the batch under way. Rows, pairs and reply rows of all calls are numbered through.
  std::vector<size_t> row_begin_;    // [calls + 1]
  std::vector<size_t> reply_begin_;  // [calls + 1]
  std::vector<uint32_t> experts_;    // those touched, ascending
  std::vector<uint32_t> next_pair_;  // [expert id]: where its next pair goes
  std::vector<uint32_t> slot_of_;    // [expert id]
  std::vector<uint32_t> pair_rows_;  // [pairs], expert-major
  std::vector<float> pair_weights_;  // [pairs], expert-major
  std::vector<uint32_t> pair_at_;    // [pairs], call by call: its place in the two above
  std::vector<kernels::ExpertGroup> groups_;
  std::vector<const float*> row_at_;  // [rows]
  std::vector<NarrowRow> to_widen_;
  std::vector<float> widened_;         // [rows that are not float32, d_model]
  std::vector<float> pair_results_;    // [pairs, d_model], expert-major
  std::vector<uint32_t> source_ends_;  // [reply rows + 1], prefix sums
  std::vector<uint32_t> sources_;      // [pairs], rows of pair_results_
  std::vector<float> sums_;            // [threads, d_model]
};

}  // namespace tessera::expert_shard
