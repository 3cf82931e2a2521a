#pragma once

// Regular expressions of tokenizer files are written for Oniguruma; PCRE2 runs them here. This
// turns the one dialect into the other, so that both match the same text:
//   sets      \p{..} \d \s \w \h and classes with the reference's Unicode version, nested classes
//   and && repeats   X{n,m}+ repeats the interval (possessive in PCRE2), X{n}? is optional (lazy in
//   PCRE2), X{,n} options   (?m) lets '.' match newlines ((?s) in PCRE2); ^ and $ are at every
//   line, always groups    nothing is captured; back references, conditions, \K and recursion are
//   refused

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/text/regex_class.h"

namespace tessera {

// The PCRE2 pattern for `pattern` (valid UTF-8), to be compiled with UTF and MULTILINE.
// Errors: kInvalidArgument naming what is not supported or malformed. What this does not look at
// (a look-behind of unbounded length) PCRE2 refuses itself.
absl::StatusOr<std::string> TranslateRegex(std::string_view pattern, const RegexTarget& target);

}  // namespace tessera
