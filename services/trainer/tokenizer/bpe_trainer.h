#pragma once

// Byte-pair encoding for copying. A word must be the same tokens wherever it stands: behind a
// space, a quote, "=" or a newline. So merges are learned
//   1  inside words: runs of letters, whatever stands before them; short tokens from all words,
//      longer ones only from words that are never copied
//   2  inside runs of punctuation
//   3  space + whole word, for frequent words that are never copied and that begin no copied word
// and never with digits: each digit is a token. It stays ordinary byte-level BPE with ranked
// merges.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::trainer {

struct BpeMerge {
  std::string left, right;  // bytes
};

struct BpePlan {
  size_t short_merges = 420;  // of all words, up to short_bytes_max
  size_t short_bytes_max = 3;
  size_t word_merges = 310;  // of words that are not copied
  size_t punctuation_merges = 45;
  size_t spaced_words = 270;
};

// Tokens that stand for themselves in any text, by id: the control tokens of Trinity's ChatML that
// conversations need.
struct ControlToken {
  std::string_view text;
  bool is_special;  // left out of decoded text on demand
};
const std::vector<ControlToken>& ControlTokens();

// `text` cut as Trinity's pre-tokenizer cuts ASCII: control tokens, groups of digits, words with
// what stands before them, runs of punctuation, white space. Other bytes count as letters.
std::vector<std::string_view> CutPieces(std::string_view text);

// What occurs in a corpus, and how often.
struct PieceCounts {
  std::map<std::string, uint64_t> words;         // runs of letters
  std::map<std::string, uint64_t> spaced_words;  // those behind a space
  std::map<std::string, uint64_t> punctuation;   // pieces without letters and digits

  void Add(std::string_view text);
};

using WordTest = std::function<bool(std::string_view)>;

// Merges by rank. `is_copied`: words that must be the same tokens everywhere.
std::vector<BpeMerge> TrainBpe(const PieceCounts& counts, const WordTest& is_copied,
                               const BpePlan& plan);

// The tokens of `piece` under the merges: the plain way, for tests and for the stages above.
std::vector<std::string> Segment(std::string_view piece, const std::vector<BpeMerge>& merges);

// tokenizer.json: control tokens, then the 256 bytes, then one token for each merge.
std::string TokenizerJson(const std::vector<BpeMerge>& merges);

}  // namespace tessera::trainer
