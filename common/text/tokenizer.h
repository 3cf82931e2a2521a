#pragma once

// Text to token ids and back, as a Hugging Face tokenizer.json says (byte-pair encoding only):
//
//   text --added tokens--> parts --normalizer--> --pre-tokenizers--> pieces --BPE--> ids
//   --post-processor--> ids ids --pieces--> --decoder--> text
//
// Equal to the reference, the Rust library `tokenizers` 0.22, id by id. `truncation` and `padding`
// of a file are not applied: limits are the caller's.

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/ids.h"
#include "common/json/json.h"
#include "common/text/added_tokens.h"
#include "common/text/bpe_model.h"
#include "common/text/decoder.h"
#include "common/text/normalizer.h"
#include "common/text/pre_tokenizer.h"
#include "common/text/unicode.h"

namespace tessera {

struct EncodeOptions {
  // Applies the post-processor: the begin-of-text token, where the file has one. (Special tokens
  // that stand in the text are recognised always.)
  bool add_special_tokens = true;
};

struct DecodeOptions {
  bool skip_special_tokens = false;  // leaves out added tokens with "special": true
};

// Immutable, thread-safe.
class Tokenizer {
 public:
  // Reads a tokenizer.json. Errors: kNotFound, there is no such file; kDataLoss, it cannot be read;
  // kInvalidArgument, it is malformed or asks for what is not supported, with the path of the
  // member.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path);
  // The same from the parsed file.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(const JsonValue& root);
  ~Tokenizer();

  // Errors: kInvalidArgument: the text is not UTF-8, is over kTextBytesMax, or takes a pattern over
  // its limits.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options = {}) const;

  // The text of `ids`; bytes that are no characters become U+FFFD. Ids outside the vocabulary are
  // left out.
  std::string Decode(std::span<const TokenId> ids, const DecodeOptions& options = {}) const;

  // One more than the highest id. Ids below may have no piece.
  TokenId id_end() const { return id_end_; }
  // Entries of the vocabulary, added tokens included.
  size_t vocab_size() const { return vocab_size_; }
  // The piece of an id as the file writes it (in the byte-level alphabet, with "\u2581"...); empty
  // if there is none.
  std::string_view PieceOf(TokenId id) const;
  // The id of a piece as the file writes it, or -1.
  TokenId IdOf(std::string_view piece) const;
  // Added tokens with "special": true.
  bool is_special(TokenId id) const;
  // Added tokens, special or not, in the file's order.
  const std::vector<AddedToken>& added_tokens() const;

 private:
  friend class IncrementalDetokenizer;
  struct Parts;
  struct Scratch;
  explicit Tokenizer(Parts parts);
  absl::Status EncodePart(std::string_view text, bool starts_input, Scratch& scratch,
                          std::vector<TokenId>* ids) const;
  absl::Status EncodePieces(std::string_view text, bool starts_input, Scratch& scratch,
                            std::vector<TokenId>* ids) const;
  absl::Status EncodeText(std::string_view text, Scratch& scratch, std::vector<TokenId>* ids) const;
  std::unique_ptr<Scratch> TakeScratch() const;
  void ReturnScratch(std::unique_ptr<Scratch> scratch) const;

  const std::shared_ptr<const UnicodeProperties> properties_;
  const std::unique_ptr<const Normalizer> normalizer_;  // null: none
  const PreTokenizerChain pre_tokenizers_;
  const std::unique_ptr<const BpeModel> model_;
  const std::unique_ptr<const AddedTokens> added_;
  const std::vector<TokenId>
      template_;  // what the post-processor makes: ids, and kTextPlace for the text's
  const std::unique_ptr<const Decoder> decoder_;
  TokenId id_end_ = 0;
  size_t vocab_size_ = 0;

  mutable absl::Mutex mutex_;
  // Buffers of encodings that ended, for the next ones.
  mutable std::vector<std::unique_ptr<Scratch>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera
