#include "services/trainer/run/row_packer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::trainer {
namespace {

absl::Status CheckDocument(const Document& document, uint64_t index, size_t vocab) {
  if (document.ids.size() < 2 || document.ids.size() != document.has_loss.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("document ", index, ": found ", document.ids.size(), " tokens and ",
                     document.has_loss.size(), " loss marks; expected as many of both, and two"));
  }
  for (const int32_t id : document.ids) {
    if (id < 0 || static_cast<size_t>(id) >= vocab) {
      return absl::InvalidArgumentError(absl::StrCat("document ", index, ": found token id ", id,
                                                     "; expected less than vocab_size ", vocab));
    }
  }
  return absl::OkStatus();
}

}  // namespace

RowPacker::RowPacker(const PackerOptions& options, const DocumentSource& source, size_t vocab)
    : options_(options), source_(source), vocab_(vocab) {}

absl::Status RowPacker::Refill(ThreadPool& pool) {
  const size_t first = entries_.size();
  while (entries_.size() < options_.buffer_documents) {
    entries_.push_back({.index = next_document_++});
  }
  return Make(first, pool);
}

absl::Status RowPacker::Make(size_t first_entry, ThreadPool& pool) {
  pool.ParallelFor(entries_.size() - first_entry, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = first_entry + begin; i < first_entry + end; ++i) {
      entries_[i].document = source_.Make(entries_[i].index);
    }
  });
  for (size_t i = first_entry; i < entries_.size(); ++i) {
    TESSERA_RETURN_IF_ERROR(CheckDocument(entries_[i].document, entries_[i].index, vocab_));
  }
  return absl::OkStatus();
}

size_t RowPacker::Fitting(const Entry& entry, size_t space) const {
  if (entry.rest() <= space) return entry.rest();
  // Only what fits no row at all is cut.
  return space == options_.row_tokens ? space : 0;
}

size_t RowPacker::Pick(size_t space) {
  if (entries_.empty()) return 0;
  const size_t drawn = RandomBits(options_.seed, draws_++) % entries_.size();
  if (Fitting(entries_[drawn], space) > 0) return drawn;
  size_t best = entries_.size(), most = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const size_t count = Fitting(entries_[i], space);
    if (count > most) {
      most = count;
      best = i;
    }
  }
  return best;
}

void RowPacker::Take(size_t entry, size_t count, PackedRow& row) {
  Entry& from = entries_[entry];
  const Document& document = from.document;
  for (size_t i = from.offset; i < from.offset + count; ++i) {
    row.ids.push_back(document.ids[i]);
    const bool has_target = i + 1 < document.ids.size() && document.has_loss[i + 1] != 0;
    row.targets.push_back(has_target ? document.ids[i + 1] : PackedRow::kNoLoss);
  }
  row.documents.push_back(static_cast<uint32_t>(row.ids.size()));
  from.offset += count;
  if (from.rest() > 0) return;
  if (entry + 1 < entries_.size()) from = std::move(entries_.back());
  entries_.pop_back();
}

PackedRow RowPacker::Next() {
  PackedRow row;
  row.documents.push_back(0);
  while (row.ids.size() < options_.row_tokens) {
    const size_t space = options_.row_tokens - row.ids.size();
    const size_t entry = Pick(space);
    if (entry >= entries_.size()) break;
    Take(entry, Fitting(entries_[entry], space), row);
  }
  return row;
}

PackerState RowPacker::state() const {
  PackerState state = {.next_document = next_document_, .draws = draws_};
  for (const Entry& entry : entries_) {
    state.documents.push_back(entry.index);
    state.offsets.push_back(entry.offset);
  }
  return state;
}

absl::Status RowPacker::Restore(const PackerState& state, ThreadPool& pool) {
  next_document_ = state.next_document;
  draws_ = state.draws;
  entries_.clear();
  for (size_t i = 0; i < state.documents.size(); ++i) {
    entries_.push_back({.index = state.documents[i], .offset = state.offsets[i]});
  }
  TESSERA_RETURN_IF_ERROR(Make(0, pool));
  for (const Entry& entry : entries_) {
    if (entry.offset < entry.document.ids.size()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "document ", entry.index, " has ", entry.document.ids.size(), " tokens, of which ",
        entry.offset, " were used: the checkpoint belongs to another corpus"));
  }
  return absl::OkStatus();
}

}  // namespace tessera::trainer
