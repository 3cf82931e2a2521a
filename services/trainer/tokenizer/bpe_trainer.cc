#include "services/trainer/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace tessera::trainer {
namespace {

bool IsLetter(char c) { return absl::ascii_isalpha(c) || static_cast<unsigned char>(c) >= 0x80; }
bool IsDigit(char c) { return absl::ascii_isdigit(c); }
bool IsSpace(char c) { return absl::ascii_isspace(c); }
bool IsNewline(char c) { return c == '\n' || c == '\r'; }
bool IsPunctuation(char c) { return absl::ascii_ispunct(c); }

size_t RunEnd(std::string_view text, size_t at, bool (*is)(char)) {
  while (at < text.size() && is(text[at])) ++at;
  return at;
}

// End of the piece of text without digits and control tokens that begins at `at`.
size_t PieceEnd(std::string_view text, size_t at) {
  const bool letter_next = at + 1 < text.size() && IsLetter(text[at + 1]);
  const bool punct_next = at + 1 < text.size() && IsPunctuation(text[at + 1]);
  if (IsPunctuation(text[at]) && letter_next && absl::ascii_isalpha(text[at + 1])) {
    return RunEnd(text, at + 1, &IsLetter);
  }
  if (IsLetter(text[at])) return RunEnd(text, at, &IsLetter);
  if (!IsPunctuation(text[at]) && !IsNewline(text[at]) && letter_next) {
    return RunEnd(text, at + 1, &IsLetter);
  }
  if (IsPunctuation(text[at]) || (text[at] == ' ' && punct_next)) {
    return RunEnd(text, RunEnd(text, at + 1, &IsPunctuation), &IsNewline);
  }
  const size_t end = RunEnd(text, at, &IsSpace);
  const size_t newline = text.substr(at, end - at).find_last_of("\r\n");
  if (newline != std::string_view::npos) return at + newline + 1;
  // Of several blanks the last goes with what follows.
  return end < text.size() && end > at + 1 ? end - 1 : std::max(end, at + 1);
}

void CutPlain(std::string_view text, std::vector<std::string_view>* pieces) {
  for (size_t at = 0; at < text.size();) {
    if (!IsDigit(text[at])) {
      const size_t digit = std::min(text.size(), text.find_first_of("0123456789", at));
      const size_t end = at + PieceEnd(text.substr(at, digit - at), 0);
      pieces->push_back(text.substr(at, end - at));
      at = end;
      continue;
    }
    // Groups of three from the right.
    const size_t end = RunEnd(text, at, &IsDigit);
    size_t size = (end - at) % 3 == 0 ? 3 : (end - at) % 3;
    for (; at < end; at += size, size = 3) pieces->push_back(text.substr(at, size));
  }
}

struct Word {
  std::vector<std::string> symbols;
  uint64_t count;
};

std::vector<std::string> Bytes(std::string_view text) {
  std::vector<std::string> symbols;
  for (const char c : text) symbols.emplace_back(1, c);
  return symbols;
}

void Apply(const BpeMerge& merge, std::vector<std::string>& symbols) {
  size_t out = 0;
  for (size_t i = 0; i < symbols.size(); ++i, ++out) {
    const bool merges =
        i + 1 < symbols.size() && symbols[i] == merge.left && symbols[i + 1] == merge.right;
    if (out != i) symbols[out] = std::move(symbols[i]);
    if (merges) symbols[out] += symbols[++i];
  }
  symbols.resize(out);
}

// A capital letter begins a token or is one: words in capitals are spelled.
bool MayMerge(const std::string& left, const std::string& right, size_t bytes_max) {
  return left.size() + right.size() <= bytes_max &&
         std::none_of(right.begin(), right.end(), [](char c) { return absl::ascii_isupper(c); });
}

// Words as numbers, for counting.
class PairCounter {
 public:
  explicit PairCounter(const std::vector<Word>& words) {
    for (const Word& word : words) {
      counts_.push_back(word.count);
      std::vector<uint32_t>& symbols = words_.emplace_back();
      for (const std::string& symbol : word.symbols) symbols.push_back(IdOf(symbol));
    }
  }

  // The most frequent pair that may merge; ties go to the smaller pair. False if there is none.
  bool Best(size_t bytes_max, BpeMerge* best) const {
    std::unordered_map<uint64_t, uint64_t> pairs;
    for (size_t w = 0; w < words_.size(); ++w) {
      const std::vector<uint32_t>& symbols = words_[w];
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        pairs[uint64_t{symbols[i]} << 32 | symbols[i + 1]] += counts_[w];
      }
    }
    uint64_t best_count = 0;
    for (const auto& [pair, count] : pairs) {
      const std::string& left = names_[pair >> 32];
      const std::string& right = names_[pair & UINT32_MAX];
      if (count < best_count || !MayMerge(left, right, bytes_max)) continue;
      if (count == best_count && std::tie(best->left, best->right) <= std::tie(left, right))
        continue;
      best_count = count;
      *best = {left, right};
    }
    return best_count > 0;
  }

  void Apply(const BpeMerge& merge) {
    const uint32_t left = IdOf(merge.left), right = IdOf(merge.right);
    const uint32_t merged = IdOf(merge.left + merge.right);
    for (std::vector<uint32_t>& symbols : words_) {
      size_t out = 0;
      for (size_t i = 0; i < symbols.size(); ++i, ++out) {
        const bool merges = i + 1 < symbols.size() && symbols[i] == left && symbols[i + 1] == right;
        symbols[out] = merges ? merged : symbols[i];
        if (merges) ++i;
      }
      symbols.resize(out);
    }
  }

 private:
  uint32_t IdOf(const std::string& symbol) {
    const auto [at, is_new] = ids_.emplace(symbol, static_cast<uint32_t>(names_.size()));
    if (is_new) names_.push_back(symbol);
    return at->second;
  }

  std::unordered_map<std::string, uint32_t> ids_;
  std::vector<std::string> names_;
  std::vector<std::vector<uint32_t>> words_;
  std::vector<uint64_t> counts_;
};

// Up to `count` merges of the most frequent pairs.
void Learn(const std::vector<Word>& words, size_t count, size_t bytes_max,
           std::vector<BpeMerge>* merges) {
  PairCounter counter(words);
  for (size_t i = 0; i < count; ++i) {
    BpeMerge best;
    if (!counter.Best(bytes_max, &best)) return;
    counter.Apply(best);
    merges->push_back(std::move(best));
  }
}

std::vector<Word> WordsOf(const std::map<std::string, uint64_t>& counts,
                          const std::vector<BpeMerge>& merges) {
  std::vector<Word> words;
  for (const auto& [text, count] : counts) words.push_back({Segment(text, merges), count});
  return words;
}

// Space + word, where the word is one token and hardly ever begins a copied word.
void LearnSpacedWords(const PieceCounts& counts, const WordTest& is_copied, size_t count,
                      std::vector<BpeMerge>* merges) {
  std::unordered_map<std::string, uint64_t> heads;
  for (const auto& [text, n] : counts.words) {
    if (is_copied(text)) heads[Segment(text, *merges)[0]] += n;
  }
  std::vector<std::pair<uint64_t, std::string>> found;
  for (const auto& [text, n] : counts.spaced_words) {
    const std::vector<std::string> tokens = Segment(text, *merges);
    // The few copied words that begin so are other tokens behind a space; that is one in thirty.
    if (tokens.size() == 1 && !is_copied(text) && heads[text] * 30 < n) found.emplace_back(n, text);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (size_t i = 0; i < std::min(count, found.size()); ++i) {
    merges->push_back({" ", found[i].second});
  }
}

}  // namespace

const std::vector<ControlToken>& ControlTokens() {
  static const std::vector<ControlToken> tokens = {
      {"<|begin_of_text|>", true}, {"<|end_of_text|>", true}, {"<|im_start|>", true},
      {"<|im_end|>", true},        {"<|pad|>", true},         {"<think>", false},
      {"</think>", false},         {"<tools>", false},        {"</tools>", false},
      {"<tool_call>", false},      {"</tool_call>", false},   {"<tool_response>", false},
      {"</tool_response>", false}, {"<function=", false},     {"</function>", false},
      {"<parameter=", false},      {"</parameter>", false}};
  return tokens;
}

std::vector<std::string_view> CutPieces(std::string_view text) {
  std::vector<std::string_view> pieces;
  size_t plain = 0;
  for (size_t at = text.find('<'); at != std::string_view::npos; at = text.find('<', at)) {
    const auto control =
        std::find_if(ControlTokens().begin(), ControlTokens().end(),
                     [&](const ControlToken& t) { return text.substr(at).starts_with(t.text); });
    if (control == ControlTokens().end()) {
      ++at;
      continue;
    }
    CutPlain(text.substr(plain, at - plain), &pieces);
    pieces.push_back(text.substr(at, control->text.size()));
    plain = at += control->text.size();
  }
  CutPlain(text.substr(plain), &pieces);
  return pieces;
}

void PieceCounts::Add(std::string_view text) {
  for (const std::string_view piece : CutPieces(text)) {
    if (piece.size() > 2 && piece[0] == '<' &&
        (piece[1] == '|' || IsLetter(piece[1]) || piece[1] == '/')) {
      continue;  // a control token, or a tag that is not worth a merge
    }
    if (IsLetter(piece.back())) {
      const size_t begin = IsLetter(piece[0]) ? 0 : 1;
      ++words[std::string(piece.substr(begin))];
      if (piece[0] == ' ') ++spaced_words[std::string(piece.substr(1))];
    } else if (!IsDigit(piece[0])) {
      ++punctuation[std::string(piece)];
    }
  }
}

std::vector<BpeMerge> TrainBpe(const PieceCounts& counts, const WordTest& is_copied,
                               const BpePlan& plan) {
  std::vector<BpeMerge> merges;
  const std::vector<Word> all = WordsOf(counts.words, {});
  Learn(all, plan.short_merges, plan.short_bytes_max, &merges);
  std::map<std::string, uint64_t> fixed;
  for (const auto& [text, count] : counts.words) {
    if (!is_copied(text)) fixed[text] = count;
  }
  const std::vector<Word> words = WordsOf(fixed, merges);
  Learn(words, plan.word_merges, SIZE_MAX, &merges);
  const std::vector<Word> punctuation = WordsOf(counts.punctuation, {});
  Learn(punctuation, plan.punctuation_merges, SIZE_MAX, &merges);
  LearnSpacedWords(counts, is_copied, plan.spaced_words, &merges);
  return merges;
}

std::vector<std::string> Segment(std::string_view piece, const std::vector<BpeMerge>& merges) {
  std::vector<std::string> symbols = Bytes(piece);
  for (const BpeMerge& merge : merges) {
    if (symbols.size() == 1) break;
    Apply(merge, symbols);
  }
  return symbols;
}

}  // namespace tessera::trainer
