#pragma once

// Pieces and their ids.

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"

namespace tessera {

// A hash of short strings: two overlapping loads and a multiplication up to 16 bytes.
inline uint64_t HashOfPiece(std::string_view s) {
  constexpr uint64_t kA = 0x9E3779B97F4A7C15u;
  constexpr uint64_t kB = 0xD6E8FEB86659FD93u;
  const auto mix = [](uint64_t x) {
    x *= kB;
    return x ^ x >> 32;
  };
  uint64_t hash = s.size() * kA;
  uint64_t word = 0;
  const char* p = s.data();
  size_t left = s.size();
  for (; left > 8; left -= 8, p += 8) {
    std::memcpy(&word, p, 8);
    hash = mix(hash ^ word) + kA;
  }
  word = 0;
  std::memcpy(&word, p, left);
  return mix(mix(hash ^ word) + kA);
}

// An immutable map from strings to ids, made for lookups that hit or miss in one cache line:
// strings of up to 8 bytes stand in the table itself, longer ones are compared in one block of
// memory. Thread-safe.
class PieceTable {
 public:
  struct Entry {
    std::string piece;
    TokenId id;
  };
  PieceTable() : PieceTable(std::vector<Entry>()) {}
  // Later entries of the same piece lose.
  explicit PieceTable(const std::vector<Entry>& entries);

  // The id of `piece`, or -1.
  TokenId Find(std::string_view piece) const;

 private:
  struct Slot {
    uint64_t key = 0;   // the bytes themselves, or the hash of more than 8
    uint32_t size = 0;  // 0: free (the empty string is never stored)
    TokenId id = -1;
    bool operator==(const Slot&) const = default;
  };
  static uint64_t KeyOf(std::string_view piece, uint64_t hash) {
    if (piece.size() > 8) return hash;
    uint64_t key = 0;
    std::memcpy(&key, piece.data(), piece.size());
    return key;
  }

  std::vector<Slot> slots_;  // a power of two, at most half of it taken
  uint64_t mask_ = 0;
  std::string long_pieces_;              // all pieces of more than 8 bytes, one behind the other
  std::vector<uint32_t> long_piece_at_;  // by slot index: offset in long_pieces_
};

inline TokenId PieceTable::Find(std::string_view piece) const {
  if (piece.empty()) return -1;
  const uint64_t hash = HashOfPiece(piece);
  const uint64_t key = KeyOf(piece, hash);
  for (uint64_t at = hash & mask_;; at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.size == 0) return -1;
    if (slot.key != key || slot.size != piece.size()) continue;
    if (piece.size() <= 8 ||
        std::memcmp(long_pieces_.data() + long_piece_at_[at], piece.data(), piece.size()) == 0) {
      return slot.id;
    }
  }
}

}  // namespace tessera
