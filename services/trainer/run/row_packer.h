#pragma once

// Which documents stand in which row of a batch.
//
//   source --0, 1, 2, ..--> buffer of documents --a random one, as long as it fits; then the
//     largest that fits--> rows of up to row_tokens
//
// The random sequential document buffer: what is in the buffer is picked at random, so that
// neighbours in the source part; a document longer than a row is read on where it was left, a row
// at a time, while others come between. All depends on the seed alone.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/base/random.h"
#include "common/concurrency/thread_pool.h"
#include "services/trainer/backward/row_pass.h"
#include "services/trainer/corpus/document.h"

namespace tessera::trainer {

struct PackerOptions {
  size_t row_tokens = 1024;
  size_t buffer_documents = 256;  // >= 1; more mix better
  uint64_t seed = 1;
};

// Where a packer stands; what a checkpoint keeps.
struct PackerState {
  uint64_t next_document = 0;
  uint64_t draws = 0;
  std::vector<uint64_t> documents;  // in the buffer: index of each,
  std::vector<uint64_t> offsets;    // and how many of its tokens have been used
};

// Thread-compatible.
class RowPacker {
 public:
  // `source` is borrowed. vocab: ids of its documents must be below.
  RowPacker(const PackerOptions& options, const DocumentSource& source, size_t vocab);

  // Documents from `index` on are read next; those in the buffer stay.
  void GoOnAt(uint64_t index) { next_document_ = index; }
  // Fills the buffer, documents side by side on `pool`. Call it before each batch; a batch must not
  // need more documents than the buffer holds. kInvalidArgument: a document is wrong (an id that is
  // out of range, sizes that differ).
  absl::Status Refill(ThreadPool& pool);
  // The next row; empty only if the buffer is.
  PackedRow Next();

  PackerState state() const;
  // Takes up where `state` was taken; the buffer's documents are made again.
  absl::Status Restore(const PackerState& state, ThreadPool& pool);

 private:
  struct Entry {
    uint64_t index = 0;
    size_t offset = 0;
    Document document;
    size_t rest() const { return document.ids.size() - offset; }
  };
  absl::Status Make(size_t first_entry, ThreadPool& pool);
  // Tokens entry i would take of a row with `space` left, 0 if it does not fit.
  size_t Fitting(const Entry& entry, size_t space) const;
  // The entry to take next, or entries_.size().
  size_t Pick(size_t space);
  void Take(size_t entry, size_t count, PackedRow& row);

  const PackerOptions options_;
  const DocumentSource& source_;
  const size_t vocab_;
  uint64_t next_document_ = 0;
  uint64_t draws_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace tessera::trainer
