#include "common/text/vocabulary.h"

#include <bit>

namespace tessera {

PieceTable::PieceTable(const std::vector<Entry>& entries) {
  slots_.resize(std::bit_ceil(entries.size() * 2 + 1));
  long_piece_at_.resize(slots_.size());
  mask_ = slots_.size() - 1;
  for (const Entry& entry : entries) {
    if (entry.piece.empty() || Find(entry.piece) >= 0) continue;
    const uint64_t hash = HashOfPiece(entry.piece);
    uint64_t at = hash & mask_;
    while (slots_[at].size != 0) at = (at + 1) & mask_;
    slots_[at] = {KeyOf(entry.piece, hash), static_cast<uint32_t>(entry.piece.size()), entry.id};
    if (entry.piece.size() > 8) {
      long_piece_at_[at] = static_cast<uint32_t>(long_pieces_.size());
      long_pieces_ += entry.piece;
    }
  }
}

}  // namespace tessera
