// Reading a BpeModel from a tokenizer file.
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/text/bpe_model.h"
#include "common/text/word_cache.h"

namespace tessera {
namespace {

constexpr TokenId kIdMax = (1 << 24) - 1;

// A string member that is absent, null or a string.
absl::StatusOr<std::string_view> OptionalString(const JsonValue& json, std::string_view key) {
  const std::optional<JsonValue> value = json.Find(key);
  if (!value.has_value() || value->is_null()) return std::string_view();
  return value->AsString();
}

absl::StatusOr<bool> OptionalFlag(const JsonValue& json, std::string_view key) {
  const std::optional<JsonValue> value = json.Find(key);
  if (!value.has_value() || value->is_null()) return false;
  return value->AsBool();
}

}  // namespace

absl::StatusOr<std::unique_ptr<const BpeModel>> BpeModel::FromJson(const JsonValue& json,
                                                                   bool takes_bytes) {
  if (const std::optional<JsonValue> type = json.Find("type")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view name, type->AsString());
    if (name != "BPE") return type->Unexpected("BPE, the only model that is supported");
  }
  auto model = std::unique_ptr<BpeModel>(new BpeModel());
  model->takes_bytes_ = takes_bytes;
  TESSERA_RETURN_IF_ERROR(model->ReadVocabulary(json));
  model->BuildPieceTables();
  TESSERA_RETURN_IF_ERROR(model->ReadOptions(json));
  TESSERA_RETURN_IF_ERROR(model->ReadMerges(json));
  model->FindWholePieces();
  model->cache_ = std::make_unique<WordCache>();
  return std::unique_ptr<const BpeModel>(std::move(model));
}

absl::Status BpeModel::ReadVocabulary(const JsonValue& json) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue vocab, json.Member("vocab"));
  TESSERA_ASSIGN_OR_RETURN(const JsonMembers members, vocab.AsObject());
  entry_count_ = members.size();
  pieces_.resize(members.size());
  std::vector<bool> is_taken(members.size());
  for (const auto [piece, value] : members) {
    TESSERA_ASSIGN_OR_RETURN(const int64_t id, value.AsInteger(0, kIdMax));
    const auto index = static_cast<size_t>(id);
    if (index >= pieces_.size()) {
      pieces_.resize(index + 1);
      is_taken.resize(index + 1);
    }
    if (is_taken[index]) return value.Unexpected("an id that no other piece has");
    is_taken[index] = true;
    pieces_[index] = piece;
  }
  return absl::OkStatus();
}

absl::Status BpeModel::ReadOptions(const JsonValue& json) {
  if (const std::optional<JsonValue> dropout = json.Find("dropout");
      dropout.has_value() && !dropout->is_null()) {
    TESSERA_ASSIGN_OR_RETURN(const double rate, dropout->AsNumber());
    if (rate != 0) return dropout->Unexpected("null: encoding must not be random");
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view affix, OptionalString(json, key));
    if (!affix.empty())
      return json.Find(key)->Unexpected("null or empty: affixes are not supported");
  }
  TESSERA_ASSIGN_OR_RETURN(fuse_unk_, OptionalFlag(json, "fuse_unk"));
  TESSERA_ASSIGN_OR_RETURN(byte_fallback_, OptionalFlag(json, "byte_fallback"));
  TESSERA_ASSIGN_OR_RETURN(ignore_merges_, OptionalFlag(json, "ignore_merges"));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view unk, OptionalString(json, "unk_token"));
  if (!unk.empty()) {
    unk_ = IdOf(unk);
    if (unk_ < 0) return json.Find("unk_token")->Unexpected("a piece of the vocabulary");
  }
  if (byte_fallback_) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    for (size_t byte = 0; byte < 256; ++byte) {
      const char name[] = {'<', '0', 'x', kHex[byte / 16], kHex[byte % 16], '>'};
      fallback_ids_[byte] = IdOf(std::string_view(name, sizeof(name)));
    }
  }
  return absl::OkStatus();
}

absl::Status BpeModel::ReadMerge(const JsonValue& json, uint32_t rank,
                                 std::vector<Merge>* merges) const {
  std::string_view left;
  std::string_view right;
  if (json.is_array() && json.size() == 2) {
    TESSERA_ASSIGN_OR_RETURN(left, json.at(0).AsString());
    TESSERA_ASSIGN_OR_RETURN(right, json.at(1).AsString());
  } else {
    const absl::StatusOr<std::string_view> line = json.AsString();
    const size_t space = line.ok() ? line->find(' ') : std::string_view::npos;
    if (space == std::string_view::npos || line->find(' ', space + 1) != std::string_view::npos) {
      return json.Unexpected("a pair of pieces, or a string with one space between them");
    }
    left = line->substr(0, space);
    right = line->substr(space + 1);
  }
  const std::string merged = absl::StrCat(std::string(left), std::string(right));
  const TokenId left_id = IdOf(left);
  const TokenId right_id = IdOf(right);
  const TokenId merged_id = IdOf(merged);
  if (left_id < 0 || right_id < 0 || merged_id < 0) {
    return json.Unexpected("two pieces that are in the vocabulary, and so is what they merge to");
  }
  const uint64_t pair =
      uint64_t{static_cast<uint32_t>(left_id)} << 32 | static_cast<uint32_t>(right_id);
  merges->push_back({pair, rank, merged_id});
  return absl::OkStatus();
}

absl::Status BpeModel::ReadMerges(const JsonValue& json) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue list, json.Member("merges"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, list.AsArray());
  std::vector<Merge> merges;
  merges.reserve(elements.size());
  uint32_t rank = 0;
  for (const JsonValue element : elements) {
    TESSERA_RETURN_IF_ERROR(ReadMerge(element, rank++, &merges));
  }
  BuildMergeTable(merges);
  return absl::OkStatus();
}

}  // namespace tessera
