#pragma once

// The room's door to PCRE2: patterns in the reference's dialect, compiled once, matched by machine
// code.

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/text/text_span.h"

namespace tessera {

// What one running match needs: reused between matches, one thread at a time.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  struct Buffers;
  std::unique_ptr<Buffers> buffers_;
};

// Immutable, thread-safe.
class Regex {
 public:
  // Errors: kInvalidArgument, what of `pattern` is wrong or not supported.
  static absl::StatusOr<std::unique_ptr<Regex>> Compile(std::string_view pattern);
  ~Regex();

  // Appends the matches in `text` (well-formed UTF-8, below 4 GiB) from left to right. They do not
  // overlap; an empty match right behind another match is skipped. \A, \z and look-behind see
  // `text` and nothing around it; \G is where the search for the next match begins. Errors:
  // kInvalidArgument, the text needs more backtracking than the limits allow.
  absl::Status FindAll(std::string_view text, RegexScratch& scratch,
                       std::vector<TextSpan>* matches) const;

 private:
  struct Code;
  explicit Regex(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace tessera
