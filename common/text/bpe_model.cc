#include "common/text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/text/byte_level.h"
#include "common/text/word_cache.h"

namespace tessera {
namespace {

constexpr uint32_t kNoRank = UINT32_MAX;
constexpr uint32_t kNone = UINT32_MAX;
// Below this many symbols the best pair is found by looking at all of them; above, by a heap.
constexpr size_t kShortSymbols = 64;

uint64_t PairOf(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}
uint64_t HashOfPair(uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15u;
  return pair ^ pair >> 29;
}

}  // namespace

BpeModel::BpeModel() {
  byte_ids_.fill(-1);
  fallback_ids_.fill(-1);
}
BpeModel::~BpeModel() = default;

std::string_view BpeModel::PieceOf(TokenId id) const {
  if (id < 0 || id >= id_end()) return {};
  return pieces_[static_cast<size_t>(id)];
}

void BpeModel::BuildMergeTable(const std::vector<Merge>& merges) {
  merges_.assign(std::bit_ceil(merges.size() * 2 + 1), Merge{0, kNoRank, -1});
  merge_mask_ = merges_.size() - 1;
  for (const Merge& merge : merges) {
    uint64_t at = HashOfPair(merge.pair) & merge_mask_;
    while (merges_[at].rank != kNoRank && merges_[at].pair != merge.pair) {
      at = (at + 1) & merge_mask_;
    }
    merges_[at] = merge;  // of a pair that stands twice the later rank counts
  }
}

void BpeModel::BuildPieceTables() {
  std::vector<PieceTable::Entry> names;
  std::vector<PieceTable::Entry> inputs;
  for (TokenId id = 0; id < id_end(); ++id) {
    const std::string& name = pieces_[static_cast<size_t>(id)];
    if (name.empty()) continue;
    names.push_back({name, id});
    if (!takes_bytes_) continue;
    if (std::optional<std::string> bytes = FromByteLevel(name)) {
      if (bytes->size() == 1) byte_ids_[static_cast<unsigned char>(bytes->front())] = id;
      inputs.push_back({*std::move(bytes), id});
    }
  }
  ids_by_name_ = PieceTable(names);
  if (takes_bytes_) ids_by_piece_ = PieceTable(inputs);
}

void BpeModel::FindWholePieces() {
  const auto input_of = [this](TokenId id) -> std::optional<std::string> {
    const std::string& name = pieces_[static_cast<size_t>(id)];
    if (name.empty()) return std::nullopt;
    return takes_bytes_ ? FromByteLevel(name) : name;
  };
  std::vector<PieceTable::Entry> whole;
  BpeScratch scratch;
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < id_end(); ++id) {
    std::optional<std::string> input = input_of(id);
    if (!input.has_value()) continue;
    if (!ignore_merges_) {
      ids.clear();
      EncodeAnew(*input, scratch, &ids);
      if (ids.size() != 1 || ids.front() != id) continue;
    }
    whole.push_back({*std::move(input), id});
  }
  whole_pieces_ = PieceTable(whole);
}

const BpeModel::Merge* BpeModel::FindMerge(TokenId left, TokenId right) const {
  const uint64_t pair = PairOf(left, right);
  for (uint64_t at = HashOfPair(pair) & merge_mask_;; at = (at + 1) & merge_mask_) {
    const Merge& merge = merges_[at];
    if (merge.rank == kNoRank) return nullptr;
    if (merge.pair == pair) return &merge;
  }
}

void BpeModel::Encode(std::string_view piece, BpeScratch& scratch,
                      std::vector<TokenId>* ids) const {
  if (const TokenId id = whole_pieces_.Find(piece); id >= 0) {
    ids->push_back(id);
    return;
  }
  if (piece.size() > WordCache::kPieceBytesMax) {
    EncodeAnew(piece, scratch, ids);
    return;
  }
  const uint64_t hash = HashOfPiece(piece);
  if (cache_->Append(piece, hash, ids)) return;
  const size_t begin = ids->size();
  EncodeAnew(piece, scratch, ids);
  cache_->Insert(piece, hash, ids->data() + begin, ids->size() - begin);
}

// The unk symbol stands for what the vocabulary lacks. The order of things is the reference's: an
// unk is held back until the next known character, and fallback bytes overtake it.
void BpeModel::AppendSymbols(std::string_view piece, std::vector<TokenId>* symbols) const {
  bool unk_is_open = false;
  const auto put_known = [&](TokenId id) {
    if (unk_is_open) symbols->push_back(unk_);
    unk_is_open = false;
    symbols->push_back(id);
  };
  for (size_t at = 0; at < piece.size();) {
    const size_t begin = at;
    TokenId id;
    if (takes_bytes_) {
      id = byte_ids_[static_cast<unsigned char>(piece[at++])];
    } else {
      at += LengthOfLead(piece[at]);
      id = ids_by_name_.Find(piece.substr(begin, at - begin));
    }
    if (id >= 0) {
      put_known(id);
      continue;
    }
    // In a byte-level model a missing byte falls back as the UTF-8 of its character.
    const std::string text = takes_bytes_ ? ToByteLevel(piece.substr(begin, 1))
                                          : std::string(piece.substr(begin, at - begin));
    const bool falls_back =
        byte_fallback_ && std::all_of(text.begin(), text.end(), [this](char byte) {
          return fallback_ids_[static_cast<unsigned char>(byte)] >= 0;
        });
    if (falls_back) {
      for (const char byte : text) {
        symbols->push_back(fallback_ids_[static_cast<unsigned char>(byte)]);
      }
    } else if (unk_ >= 0) {
      if (unk_is_open && !fuse_unk_) symbols->push_back(unk_);
      unk_is_open = true;
    }
  }
  if (unk_is_open) symbols->push_back(unk_);
}

void BpeModel::EncodeAnew(std::string_view piece, BpeScratch& scratch,
                          std::vector<TokenId>* ids) const {
  const size_t begin = ids->size();
  AppendSymbols(piece, ids);
  if (ids->size() - begin <= kShortSymbols) {
    MergeShort(begin, ids);
  } else {
    MergeLong(begin, scratch, ids);
  }
}

void BpeModel::MergeShort(size_t begin, std::vector<TokenId>* ids) const {
  std::array<const Merge*, kShortSymbols> merges;
  TokenId* symbols = ids->data() + begin;
  size_t count = ids->size() - begin;
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = FindMerge(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = count;
    uint32_t best_rank = kNoRank;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (merges[i] != nullptr && merges[i]->rank < best_rank) {
        best_rank = merges[i]->rank;
        best = i;
      }
    }
    if (best == count) break;
    symbols[best] = merges[best]->id;
    std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
    std::copy(merges.begin() + static_cast<ptrdiff_t>(best) + 1,
              merges.begin() + static_cast<ptrdiff_t>(count) - 1,
              merges.begin() + static_cast<ptrdiff_t>(best));
    --count;
    if (best > 0) merges[best - 1] = FindMerge(symbols[best - 1], symbols[best]);
    if (best + 1 < count) merges[best] = FindMerge(symbols[best], symbols[best + 1]);
  }
  ids->resize(begin + count);
}

// Notes the merge of symbol `at` with its successor and queues it.
void BpeModel::Link(BpeScratch& scratch, uint32_t at) const {
  BpeScratch::Symbol& symbol = scratch.symbols[at];
  symbol.rank = kNoRank;
  if (symbol.next == kNone) return;
  const Merge* merge = FindMerge(symbol.id, scratch.symbols[symbol.next].id);
  if (merge == nullptr) return;
  symbol.rank = merge->rank;
  symbol.merged = merge->id;
  scratch.queue.push_back(uint64_t{merge->rank} << 32 | at);
}

void BpeModel::MergeLong(size_t begin, BpeScratch& scratch, std::vector<TokenId>* ids) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch.symbols;
  const auto count = static_cast<uint32_t>(ids->size() - begin);
  symbols.clear();
  scratch.queue.clear();
  for (uint32_t i = 0; i < count; ++i) {
    symbols.push_back(
        {(*ids)[begin + i], i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1, kNoRank, -1});
  }
  for (uint32_t i = 0; i < count; ++i) Link(scratch, i);
  const auto later = std::greater<>();  // the lowest rank, then the leftmost symbol, is on top
  std::make_heap(scratch.queue.begin(), scratch.queue.end(), later);
  const auto link_and_sift = [&](uint32_t at) {
    const size_t queued = scratch.queue.size();
    Link(scratch, at);
    if (scratch.queue.size() > queued) {
      std::push_heap(scratch.queue.begin(), scratch.queue.end(), later);
    }
  };
  while (!scratch.queue.empty()) {
    const auto at = static_cast<uint32_t>(scratch.queue.front());
    const auto rank = static_cast<uint32_t>(scratch.queue.front() >> 32);
    std::pop_heap(scratch.queue.begin(), scratch.queue.end(), later);
    scratch.queue.pop_back();
    BpeScratch::Symbol& symbol = symbols[at];
    if (symbol.rank != rank) continue;  // merged away or changed since it was queued
    const BpeScratch::Symbol& eaten = symbols[symbol.next];
    symbols[symbol.next].rank = kNoRank;
    symbol.id = symbol.merged;
    symbol.next = eaten.next;
    if (symbol.next != kNone) symbols[symbol.next].previous = at;
    link_and_sift(at);
    if (symbol.previous != kNone) link_and_sift(symbol.previous);
  }
  ids->resize(begin);
  for (uint32_t at = count == 0 ? kNone : 0; at != kNone; at = symbols[at].next) {
    ids->push_back(symbols[at].id);
  }
}

}  // namespace tessera
