#include "common/text/tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/text/incremental_detokenizer.h"
#include "common/text/post_processor.h"

namespace tessera {
namespace {

// A null value, for members that are absent.
const JsonValue& OrNull(const std::optional<JsonValue>& value, const JsonValue& null) {
  return value.has_value() ? *value : null;
}

}  // namespace

struct Tokenizer::Parts {
  std::shared_ptr<const UnicodeProperties> properties;
  std::unique_ptr<const Normalizer> normalizer;
  PreTokenizerChain pre_tokenizers;
  std::unique_ptr<const BpeModel> model;
  std::unique_ptr<const AddedTokens> added;
  std::vector<TokenId> template_ids;
  std::unique_ptr<const Decoder> decoder;
};

struct Tokenizer::Scratch {
  PreTokenizeScratch pre_tokenize;
  Pieces pieces;
  BpeScratch bpe;
  std::string normalized;
};

Tokenizer::Tokenizer(Parts parts)
    : properties_(std::move(parts.properties)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizers_(std::move(parts.pre_tokenizers)),
      model_(std::move(parts.model)),
      added_(std::move(parts.added)),
      template_(std::move(parts.template_ids)),
      decoder_(std::move(parts.decoder)),
      id_end_(model_->id_end()),
      vocab_size_(model_->entry_count()) {
  for (const AddedToken& token : added_->tokens()) {
    id_end_ = std::max(id_end_, token.id + 1);
    if (model_->IdOf(token.content) < 0) ++vocab_size_;
  }
}

Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::ReadFile(path));
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = FromJson(document.root());
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path);
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(const JsonValue& root) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument nothing, JsonDocument::Parse("null"));
  const JsonValue null = nothing.root();
  TESSERA_ASSIGN_OR_RETURN(const JsonValue model, root.Member("model"));
  Parts parts;
  parts.properties = std::make_shared<const UnicodeProperties>();
  TESSERA_ASSIGN_OR_RETURN(parts.normalizer,
                           Normalizer::FromJson(OrNull(root.Find("normalizer"), null)));
  TESSERA_ASSIGN_OR_RETURN(
      parts.pre_tokenizers,
      ParsePreTokenizer(OrNull(root.Find("pre_tokenizer"), null), parts.properties));
  TESSERA_ASSIGN_OR_RETURN(parts.model,
                           BpeModel::FromJson(model, parts.pre_tokenizers.yields_bytes));
  TESSERA_ASSIGN_OR_RETURN(AddedTokens added,
                           AddedTokens::FromJson(OrNull(root.Find("added_tokens"), null),
                                                 *parts.model, parts.normalizer.get()));
  parts.added = std::make_unique<const AddedTokens>(std::move(added));
  TESSERA_ASSIGN_OR_RETURN(parts.template_ids,
                           ParsePostProcessor(OrNull(root.Find("post_processor"), null)));
  TESSERA_ASSIGN_OR_RETURN(parts.decoder, Decoder::FromJson(OrNull(root.Find("decoder"), null)));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text,
                                                       const EncodeOptions& options) const {
  if (text.size() > kTextBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("the text has ", text.size(), " bytes; at most ",
                                                   kTextBytesMax, " are accepted"));
  }
  if (const size_t at = FindInvalidUtf8(text); at != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("the text is not UTF-8 at byte ", at));
  }
  std::vector<TokenId> ids;
  std::unique_ptr<Scratch> scratch = TakeScratch();
  const absl::Status status = EncodeText(text, *scratch, &ids);
  ReturnScratch(std::move(scratch));
  if (!status.ok()) return status;
  if (!options.add_special_tokens) return ids;
  std::vector<TokenId> all;
  for (const TokenId id : template_) {
    if (id == kTextPlace) {
      all.insert(all.end(), ids.begin(), ids.end());
    } else {
      all.push_back(id);
    }
  }
  return all;
}

absl::Status Tokenizer::EncodeText(std::string_view text, Scratch& scratch,
                                   std::vector<TokenId>* ids) const {
  return added_->Cut(text, /*is_normalized=*/false, *properties_,
                     [&](TextSpan span, const AddedToken* token) -> absl::Status {
                       if (token == nullptr) {
                         return EncodePart(Slice(text, span), span.begin == 0, scratch, ids);
                       }
                       ids->push_back(token->id);
                       return absl::OkStatus();
                     });
}

absl::Status Tokenizer::EncodePart(std::string_view text, bool starts_input, Scratch& scratch,
                                   std::vector<TokenId>* ids) const {
  if (normalizer_ != nullptr) {
    scratch.normalized = text;
    TESSERA_RETURN_IF_ERROR(
        normalizer_->Normalize(scratch.pre_tokenize.regex, &scratch.normalized));
    text = scratch.normalized;
  }
  if (!added_->has_normalized()) return EncodePieces(text, starts_input, scratch, ids);
  return added_->Cut(text, /*is_normalized=*/true, *properties_,
                     [&](TextSpan span, const AddedToken* token) -> absl::Status {
                       if (token == nullptr) {
                         return EncodePieces(Slice(text, span), starts_input && span.begin == 0,
                                             scratch, ids);
                       }
                       ids->push_back(token->id);
                       return absl::OkStatus();
                     });
}

absl::Status Tokenizer::EncodePieces(std::string_view text, bool starts_input, Scratch& scratch,
                                     std::vector<TokenId>* ids) const {
  Pieces& pieces = scratch.pieces;
  pieces.Reset(text, starts_input);
  for (const std::unique_ptr<const PreTokenizer>& stage : pre_tokenizers_.stages) {
    TESSERA_RETURN_IF_ERROR(stage->Cut(scratch.pre_tokenize, &pieces));
  }
  for (const TextSpan span : pieces.spans()) {
    model_->Encode(Slice(pieces.text(), span), scratch.bpe, ids);
  }
  return absl::OkStatus();
}

std::unique_ptr<Tokenizer::Scratch> Tokenizer::TakeScratch() const {
  {
    absl::MutexLock lock(&mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Scratch> scratch = std::move(idle_.back());
      idle_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>();
}

void Tokenizer::ReturnScratch(std::unique_ptr<Scratch> scratch) const {
  constexpr size_t kIdleMax = 16;
  constexpr size_t kKeptBytesMax = size_t{4} << 20;  // one huge text must not stay in memory
  const size_t held = scratch->normalized.capacity() + scratch->pieces.capacity_bytes() +
                      scratch->bpe.symbols.capacity() * sizeof(BpeScratch::Symbol);
  if (held > kKeptBytesMax) return;
  absl::MutexLock lock(&mutex_);
  if (idle_.size() < kIdleMax) idle_.push_back(std::move(scratch));
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, const DecodeOptions& options) const {
  IncrementalDetokenizer detokenizer(*this, options);
  std::string text;
  for (const TokenId id : ids) text += detokenizer.Push(id);
  return text + detokenizer.Flush();
}

std::string_view Tokenizer::PieceOf(TokenId id) const {
  if (const AddedToken* token = added_->FindId(id)) return token->content;
  return model_->PieceOf(id);
}

TokenId Tokenizer::IdOf(std::string_view piece) const {
  if (const AddedToken* token = added_->FindContent(piece)) return token->id;
  return model_->IdOf(piece);
}

bool Tokenizer::is_special(TokenId id) const {
  const AddedToken* token = added_->FindId(id);
  return token != nullptr && token->special;
}

const std::vector<AddedToken>& Tokenizer::added_tokens() const { return added_->tokens(); }

}  // namespace tessera
