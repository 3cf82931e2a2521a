#pragma once

// A text on its way through the pre-tokenizers: the bytes, and the pieces they are cut into so far.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/text/text_span.h"

namespace tessera {

// Reused from text to text; owned by one encoding at a time. Pieces are never empty, do not overlap
// and stand in order, but need not cover the text.
class Pieces {
 public:
  // One piece, the whole `text` (borrowed until the next Reset). `starts_input`: nothing of the
  // input stands before.
  void Reset(std::string_view text, bool starts_input) {
    text_ = text;
    starts_input_ = starts_input;
    spans_.clear();
    if (!text.empty()) spans_.push_back({0, static_cast<uint32_t>(text.size())});
  }

  std::string_view text() const { return text_; }
  const std::vector<TextSpan>& spans() const { return spans_; }
  // Whether this piece begins where the input begins.
  bool StartsInput(TextSpan span) const { return starts_input_ && span.begin == 0; }

  size_t capacity_bytes() const {
    return (spans_.capacity() + next_.capacity()) * sizeof(TextSpan) + old_text_.capacity() +
           new_text_.capacity();
  }

  // A stage that cuts: append the new pieces (in order) to next(), then Commit().
  std::vector<TextSpan>& next() { return next_; }
  void Append(TextSpan span) {
    if (span.begin < span.end) next_.push_back(span);
  }
  void Commit() {
    spans_.swap(next_);
    next_.clear();
  }

  // A stage that rewrites: append each piece's new text to new_text() and its place there by
  // Append, then CommitText(). `new_text` is empty at the first call.
  std::string& new_text() { return new_text_; }
  void CommitText() {
    old_text_.swap(new_text_);
    new_text_.clear();
    text_ = old_text_;
    Commit();
  }

 private:
  std::string_view text_;
  bool starts_input_ = false;
  std::vector<TextSpan> spans_;
  std::vector<TextSpan> next_;
  std::string old_text_;
  std::string new_text_;
};

}  // namespace tessera
