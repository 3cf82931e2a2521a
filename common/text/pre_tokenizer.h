#pragma once

// The "pre_tokenizer" of a tokenizer file: cuts normalized text into the pieces that are encoded
// one by one.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/json/json.h"
#include "common/text/pieces.h"
#include "common/text/regex.h"
#include "common/text/unicode.h"

namespace tessera {

// What becomes of the text a Split matched.
enum class SplitBehavior : uint8_t {
  kRemoved,             // a-b -> a b
  kIsolated,            // a-b -> a - b
  kMergedWithPrevious,  // a-b -> a- b
  kMergedWithNext,      // a-b -> a -b
  kContiguous,          // a--b -> a -- b: neighbouring matches are one piece
};

// Scratch of one encoding.
struct PreTokenizeScratch {
  RegexScratch regex;
  std::vector<TextSpan> matches;
  std::vector<std::pair<TextSpan, bool>> parts;  // all of a piece: part, whether it is a match
};

// Cuts `span` of the text of `pieces` at scratch.matches (relative to the span), which become the
// other thing if `invert`.
void SplitAtMatches(TextSpan span, SplitBehavior behavior, bool invert, PreTokenizeScratch& scratch,
                    Pieces* pieces);

// Immutable, thread-safe.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;

  // Cuts every piece further. Errors: kInvalidArgument, the text grows beyond kTextBytesMax or a
  // pattern's limits.
  virtual absl::Status Cut(PreTokenizeScratch& scratch, Pieces* pieces) const = 0;
};

struct PreTokenizerChain {
  std::vector<std::unique_ptr<const PreTokenizer>> stages;
  // The chain ends in ByteLevel, whose change of alphabet is left out: pieces hold the bytes
  // themselves, and the model is to take bytes for characters.
  bool yields_bytes = false;
};

// Split, Digits, ByteLevel, Metaspace, Punctuation, Whitespace, WhitespaceSplit, Sequence; no
// stages for null. Errors: kInvalidArgument with the path: another type, a missing or wrong member.
absl::StatusOr<PreTokenizerChain> ParsePreTokenizer(
    const JsonValue& json, std::shared_ptr<const UnicodeProperties> properties);

}  // namespace tessera
