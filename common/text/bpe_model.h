#pragma once

// Byte-pair encoding of one piece: characters become symbols, then the neighbouring pair with the
// lowest rank is merged, the leftmost first, until no pair has a merge.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/json/json.h"
#include "common/text/vocabulary.h"

namespace tessera {

// Scratch of one encoding.
struct BpeScratch {
  struct Symbol {
    TokenId id;
    uint32_t previous;
    uint32_t next;
    uint32_t rank;  // of the merge with `next`
    TokenId merged;
  };
  std::vector<Symbol> symbols;
  std::vector<uint64_t> queue;
};

// Immutable after construction but for a cache of its own; thread-safe.
class BpeModel {
 public:
  // Reads "model" of a tokenizer file: vocab, merges (pairs or "left right"), unk_token, fuse_unk,
  // byte_fallback, ignore_merges. With `takes_bytes` pieces are bytes and the vocabulary is in the
  // byte-level alphabet. Errors: kInvalidArgument with the path: another model than BPE, dropout,
  // affixes, an id that stands twice or is over 16,777,215, a merge of unknown pieces, an unk_token
  // that is not in the vocabulary.
  static absl::StatusOr<std::unique_ptr<const BpeModel>> FromJson(const JsonValue& json,
                                                                  bool takes_bytes);
  ~BpeModel();

  // Appends the ids of `piece` (not empty; well-formed UTF-8 unless it takes bytes).
  void Encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>* ids) const;

  // Piece of an id as the file writes it; empty if there is none. ids go from 0 to id_end() - 1,
  // with holes.
  std::string_view PieceOf(TokenId id) const;
  TokenId id_end() const { return static_cast<TokenId>(pieces_.size()); }
  // Id of a piece as the file writes it, or -1.
  TokenId IdOf(std::string_view piece) const { return ids_by_name_.Find(piece); }
  size_t entry_count() const { return entry_count_; }

 private:
  struct Merge {
    uint64_t pair;  // left << 32 | right
    uint32_t rank;
    TokenId id;
  };
  class WordCache;

  BpeModel();
  absl::Status ReadVocabulary(const JsonValue& json);
  absl::Status ReadMerges(const JsonValue& json);
  absl::Status ReadMerge(const JsonValue& json, uint32_t rank, std::vector<Merge>* merges) const;
  absl::Status ReadOptions(const JsonValue& json);
  void BuildMergeTable(const std::vector<Merge>& merges);
  void BuildPieceTables();
  void FindWholePieces();

  const Merge* FindMerge(TokenId left, TokenId right) const;
  void AppendSymbols(std::string_view piece, std::vector<TokenId>* symbols) const;
  void EncodeAnew(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>* ids) const;
  void MergeShort(size_t begin, std::vector<TokenId>* ids) const;
  void MergeLong(size_t begin, BpeScratch& scratch, std::vector<TokenId>* ids) const;
  void Link(BpeScratch& scratch, uint32_t at) const;

  bool takes_bytes_ = false;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  TokenId unk_ = -1;
  size_t entry_count_ = 0;
  std::vector<std::string> pieces_;    // by id
  PieceTable ids_by_name_;             // as the file writes them
  PieceTable ids_by_piece_;            // as pieces come in (bytes or characters): initial symbols
  PieceTable whole_pieces_;            // those that are encoded as themselves
  std::array<TokenId, 256> byte_ids_;  // takes_bytes: symbol of a byte, or -1
  std::array<TokenId, 256> fallback_ids_;  // byte_fallback: <0x00> to <0xFF>, or -1
  std::vector<Merge> merges_;              // open addressing, a power of two, at most half taken
  uint64_t merge_mask_ = 0;
  std::unique_ptr<WordCache> cache_;
};

}  // namespace tessera
