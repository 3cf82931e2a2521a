#pragma once

// Remembers the ids of words that took merging.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/text/bpe_model.h"

namespace tessera {

// A table that only fills: a slot once taken keeps its word, so readers need no lock and no entry
// is ever freed under them. At most 4 MB. Words come back often or hardly ever, and the often ones
// come first: an eviction policy was not worth its bookkeeping. Thread-safe.
class BpeModel::WordCache {
 public:
  static constexpr size_t kPieceBytesMax = 64;

  WordCache() : slots_(std::make_unique<Slots>()) {}
  ~WordCache() {
    for (const std::atomic<const Entry*>& slot : *slots_) {
      delete slot.load(std::memory_order_relaxed);
    }
  }
  WordCache(const WordCache&) = delete;
  WordCache& operator=(const WordCache&) = delete;

  // Appends the ids of `piece` if they are known. `hash` is HashOfPiece(piece), here and below.
  bool Append(std::string_view piece, uint64_t hash, std::vector<TokenId>* ids) const {
    const Entry* entry = (*slots_)[hash % kSlotCount].load(std::memory_order_acquire);
    if (entry == nullptr || entry->hash != hash || entry->piece_bytes != piece.size() ||
        std::memcmp(entry->piece.data(), piece.data(), piece.size()) != 0) {
      return false;
    }
    ids->insert(ids->end(), entry->ids.begin(), entry->ids.begin() + entry->id_count);
    return true;
  }

  void Insert(std::string_view piece, uint64_t hash, const TokenId* ids, size_t id_count) {
    std::atomic<const Entry*>& slot = (*slots_)[hash % kSlotCount];
    if (id_count > kIdsMax || slot.load(std::memory_order_relaxed) != nullptr) return;
    auto entry = std::make_unique<Entry>();
    entry->hash = hash;
    entry->piece_bytes = static_cast<uint8_t>(piece.size());
    entry->id_count = static_cast<uint8_t>(id_count);
    std::copy_n(ids, id_count, entry->ids.begin());
    std::copy(piece.begin(), piece.end(), entry->piece.begin());
    const Entry* expected = nullptr;
    if (slot.compare_exchange_strong(expected, entry.get(), std::memory_order_release,
                                     std::memory_order_relaxed)) {
      (void)entry.release();
    }
  }

 private:
  static constexpr size_t kSlotCount = size_t{1} << 15;
  static constexpr size_t kIdsMax = 13;

  struct alignas(64) Entry {  // two cache lines, the second for the words alone
    uint64_t hash = 0;
    uint8_t piece_bytes = 0;
    uint8_t id_count = 0;
    std::array<TokenId, kIdsMax> ids;
    std::array<char, kPieceBytesMax> piece;
  };
  using Slots = std::array<std::atomic<const Entry*>, kSlotCount>;

  std::unique_ptr<Slots> slots_;
};

}  // namespace tessera
