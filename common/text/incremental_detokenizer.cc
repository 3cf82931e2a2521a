#include "common/text/incremental_detokenizer.h"

#include <string_view>

namespace tessera {

IncrementalDetokenizer::IncrementalDetokenizer(const Tokenizer& tokenizer,
                                               const DecodeOptions& options)
    : tokenizer_(tokenizer), options_(options), stream_(tokenizer.decoder_->NewStream()) {}

std::string IncrementalDetokenizer::Push(TokenId id) {
  std::string out;
  const std::string_view piece = tokenizer_.PieceOf(id);
  if (piece.empty() || (options_.skip_special_tokens && tokenizer_.is_special(id))) return out;
  stream_->Push(piece, &out);
  return out;
}

std::string IncrementalDetokenizer::Flush() {
  std::string out;
  stream_->Flush(&out);
  return out;
}

}  // namespace tessera
