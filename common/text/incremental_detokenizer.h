#pragma once

// Text of a generation while its tokens arrive.

#include <memory>
#include <string>

#include "common/base/ids.h"
#include "common/text/tokenizer.h"

namespace tessera {

// Gives out whole characters only: bytes of an incomplete one are held back, and so is what later
// tokens may still change (see DecodeStream). What all Push and the Flush return is together what
// Tokenizer::Decode returns for the same ids. Owned by one thread; the tokenizer is borrowed.
class IncrementalDetokenizer {
 public:
  explicit IncrementalDetokenizer(const Tokenizer& tokenizer, const DecodeOptions& options = {});

  // The text that `id` settles, often empty. An id outside the vocabulary settles nothing.
  std::string Push(TokenId id);
  // The rest; an incomplete character becomes U+FFFD. The next Push begins a new text.
  std::string Flush();

 private:
  const Tokenizer& tokenizer_;
  const DecodeOptions options_;
  const std::unique_ptr<DecodeStream> stream_;
};

}  // namespace tessera
