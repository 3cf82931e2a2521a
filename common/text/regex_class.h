#pragma once

// Character classes of the reference's regular expressions, written for PCRE2.
//
// The reference (Oniguruma) and PCRE2 know different Unicode versions, so a property is written as
// PCRE2's own plus the code points the reference adds to it (fast: one property test for nearly all
// text), or as a full list of ranges where that is not enough.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/text/unicode.h"

namespace tessera {

// What PCRE2 at hand knows. Without it, properties are written as ranges, which is right but
// slower.
struct RegexTarget {
  bool is_unicode_14 = false;
};

// A set of characters as a part of a PCRE2 pattern: a union of what stands in one bracket and of
// expressions that match exactly one character each.
class CharacterClass {
 public:
  void AddRange(char32_t first, char32_t last);
  void AddRanges(const CodePointRanges& ranges);
  void AddCategories(CategoryMask mask, const RegexTarget& target);
  void AddNotCategories(CategoryMask mask, const RegexTarget& target);
  void AddPcreProperty(std::string_view name,
                       bool negated);  // a script or other name left to PCRE2
  void AddExpression(std::string expression) { others_.push_back(std::move(expression)); }
  bool empty() const { return bracket_.empty() && others_.empty(); }

  // The whole as one atom that matches one character; not empty().
  std::string Expression(bool negated) const;

 private:
  std::string bracket_;
  std::vector<std::string> others_;
};

// Parses a bracketed class; pattern[*at] is the character after '['. Moves *at behind the ']'.
// Errors: kInvalidArgument, what is not supported or not closed.
absl::StatusOr<std::string> TranslateBracket(std::string_view pattern, size_t* at,
                                             const RegexTarget& target, int depth);

// Parses what may follow a backslash in and outside of classes and stands for a set: d D s S w W h
// H p P. pattern[*at] is the character after the backslash. Adds to `out` and returns true, or
// returns false and moves nothing if it is something else.
absl::StatusOr<bool> TranslateSetEscape(std::string_view pattern, size_t* at,
                                        const RegexTarget& target, CharacterClass* out);

// The character an escape stands for: \n, \x41, \x{1F600}, A, \. and so on; *at as above.
absl::StatusOr<char32_t> TranslateCharacterEscape(std::string_view pattern, size_t* at);

// A character as PCRE2 reads it literally, in and outside of classes.
std::string LiteralOf(char32_t c);

}  // namespace tessera
