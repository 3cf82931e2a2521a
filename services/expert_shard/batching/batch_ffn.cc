#include "services/expert_shard/batching/batch_ffn.h"

#include <algorithm>

#include "common/base/check.h"

namespace tessera::expert_shard {
namespace {

// Below this many rows a parallel region costs more than copying or adding them.
constexpr size_t kRowsPerPiece = 16;

bool IsStrict(const IncomingCall& call) { return call.call.header.has(wire::kStrict); }

// run(i, worker) for i in [0, count).
template <typename Run>
void ForRows(const kernels::Compute& compute, size_t count, const Run& run) {
  const auto piece = [&run](size_t begin, size_t end, size_t worker) {
    for (size_t i = begin; i < end; ++i) run(i, worker);
  };
  if (count <= kRowsPerPiece) return piece(0, count, 0);
  compute.pool.ParallelFor(count, kRowsPerPiece, piece);
}

// Of the numbered-through rows whose calls begin at `begins`.
size_t CallOf(const std::vector<size_t>& begins, size_t row) {
  return static_cast<size_t>(std::upper_bound(begins.begin(), begins.end(), row) - begins.begin()) -
         1;
}

}  // namespace

size_t BatchFfn::Run(const ExpertTable& table, std::span<const IncomingCall> calls) {
  GroupByExpert(table, calls);
  const kernels::RowSource rows = Rows(calls);
  const size_t pairs = pair_rows_.size();
  // The pairs of a single call are expert-major already: its strict answer is computed in place.
  const IncomingCall& first = calls.front();
  if (calls.size() == 1 && IsStrict(first) && first.geometry.dtype_down == wire::RowDType::kF32) {
    kernels::GroupedSwiGlu(compute_, groups_, rows, first.reply_rows().f32());
    return groups_.size();
  }
  pair_results_.resize(pairs * rows.cols());
  const MatrixView results(pair_results_.data(), pairs, rows.cols());
  kernels::GroupedSwiGlu(compute_, groups_, rows, results);
  ListSources(calls);
  WriteReplies(calls, results);
  return groups_.size();
}

void BatchFfn::GroupByExpert(const ExpertTable& table, std::span<const IncomingCall> calls) {
  experts_.clear();
  row_begin_.assign(1, 0);
  reply_begin_.assign(1, 0);
  next_pair_.assign(calls.front().geometry.expert_count, 0);
  slot_of_.resize(next_pair_.size());
  for (const IncomingCall& call : calls) {
    row_begin_.push_back(row_begin_.back() + call.call.rows.rows);
    reply_begin_.push_back(reply_begin_.back() + call.call.reply_rows());
    for (const wire::CallSegment& segment : call.call.segments) {
      const uint32_t expert = static_cast<uint32_t>(segment.expert);
      if (next_pair_[expert] == 0) experts_.push_back(expert);
      next_pair_[expert] += segment.pair_count;
      slot_of_[expert] = segment.slot;
    }
  }
  std::sort(experts_.begin(), experts_.end());
  uint32_t pairs = 0;
  for (const uint32_t expert : experts_) {
    const uint32_t count = next_pair_[expert];
    next_pair_[expert] = pairs;
    pairs += count;
  }
  pair_rows_.resize(pairs);
  pair_weights_.resize(pairs);
  pair_at_.clear();
  for (size_t i = 0; i < calls.size(); ++i) {
    const wire::CallView& call = calls[i].call;
    size_t pair = 0;
    for (const wire::CallSegment& segment : call.segments) {
      uint32_t& next = next_pair_[static_cast<uint32_t>(segment.expert)];
      for (const size_t end = pair + segment.pair_count; pair < end; ++pair, ++next) {
        pair_rows_[next] = static_cast<uint32_t>(row_begin_[i] + call.pair_rows[pair]);
        pair_weights_[next] = call.pair_weights[pair];
        pair_at_.push_back(next);
      }
    }
  }
  groups_.clear();
  uint32_t begin = 0;
  for (const uint32_t expert : experts_) {
    const uint32_t end = next_pair_[expert];  // it has moved on to there
    const HeldExpert* held = table.AtSlot(slot_of_[expert]);
    TESSERA_CHECK(held != nullptr);
    groups_.push_back({&held->network, std::span(pair_rows_).subspan(begin, end - begin),
                       std::span(pair_weights_).subspan(begin, end - begin)});
    begin = end;
  }
}

kernels::RowSource BatchFfn::Rows(std::span<const IncomingCall> calls) {
  const size_t d_model = calls.front().call.rows.d_model;
  row_at_.clear();
  to_widen_.clear();
  for (const IncomingCall& call : calls) {
    const wire::RowsView& rows = call.call.rows;
    for (size_t row = 0; row < rows.rows; ++row) {
      if (rows.dtype == wire::RowDType::kF32) {
        row_at_.push_back(rows.f32().row(row).data());
      } else {
        to_widen_.push_back({&rows, row, row_at_.size()});
        row_at_.push_back(nullptr);
      }
    }
  }
  widened_.resize(to_widen_.size() * d_model);
  ForRows(compute_, to_widen_.size(), [&](size_t i, size_t) {
    const NarrowRow& narrow = to_widen_[i];
    float* const wide = widened_.data() + i * d_model;
    narrow.rows->ReadRow(narrow.row, std::span(wide, d_model));
    row_at_[narrow.number] = wide;
  });
  return {row_at_, d_model};
}

void BatchFfn::ListSources(std::span<const IncomingCall> calls) {
  const size_t replies = reply_begin_.back();
  const auto for_pairs = [&](const auto& visit) {
    size_t pair = 0;
    for (size_t i = 0; i < calls.size(); ++i) {
      const std::span<const uint16_t> rows = calls[i].call.pair_rows;
      for (size_t p = 0; p < rows.size(); ++p, ++pair) {
        visit(reply_begin_[i] + (IsStrict(calls[i]) ? p : rows[p]), pair_at_[pair]);
      }
    }
  };
  source_ends_.assign(replies + 1, 0);
  for_pairs([this](size_t reply, uint32_t) { ++source_ends_[reply + 1]; });
  for (size_t i = 0; i < replies; ++i) source_ends_[i + 1] += source_ends_[i];
  sources_.resize(pair_at_.size());
  // Pairs come in ascending expert id, and so they are listed. Entry r is where row r's next source
  // goes; in the end it is where those of row r + 1 begin, so one step down makes it right again.
  for_pairs([this](size_t reply, uint32_t at) { sources_[source_ends_[reply]++] = at; });
  std::copy_backward(source_ends_.begin(), source_ends_.end() - 1, source_ends_.end());
  source_ends_.front() = 0;
}

void BatchFfn::WriteReplies(std::span<const IncomingCall> calls, ConstMatrixView pairs) {
  sums_.resize(compute_.pool.thread_count() * pairs.cols());
  ForRows(compute_, reply_begin_.back(), [&](size_t reply, size_t worker) {
    WriteReplyRow(calls, reply, pairs,
                  std::span(sums_).subspan(worker * pairs.cols(), pairs.cols()));
  });
}

void BatchFfn::WriteReplyRow(std::span<const IncomingCall> calls, size_t out, ConstMatrixView pairs,
                             std::span<float> sum) const {
  const size_t i = CallOf(reply_begin_, out);
  const wire::MutableRows replies = calls[i].reply_rows();
  const size_t row = out - reply_begin_[i];
  const bool in_place = replies.dtype == wire::RowDType::kF32;
  const std::span<float> to = in_place ? replies.f32().row(row) : sum;
  const std::span<const uint32_t> sources =
      std::span(sources_).subspan(source_ends_[out], source_ends_[out + 1] - source_ends_[out]);
  if (sources.empty()) {
    std::ranges::fill(to, 0.0f);
  } else {
    std::ranges::copy(pairs.row(sources[0]), to.begin());
    for (const uint32_t source : sources.subspan(1)) {
      const float* from = pairs.row(source).data();
      for (size_t c = 0; c < to.size(); ++c) to[c] += from[c];
    }
  }
  if (!in_place) replies.WriteRow(row, to);
}

}  // namespace tessera::expert_shard
