#pragma once

// `tessera tokenize`: text to token ids and back, line by line, for pipes.

#include <istream>
#include <ostream>
#include <span>
#include <string_view>

namespace tessera::cli {

// Runs `tessera tokenize --tokenizer=FILE [--add_special_tokens] [--decode]
// [--skip_special_tokens]`; `args` are the words behind "tokenize".
//   in    one JSON string a line (a lone surrogate escape counts as U+FFFD); with --decode one JSON
//   array of ids.
//         A line ends at "\n" and at nothing else.
//   out   one JSON array of ids a line ("[]" for ""); with --decode one JSON string. Flushed line
//   by line.
// Special tokens inside the text are recognised always; --add_special_tokens puts those around it
// that the file asks for; --skip_special_tokens (with --decode) leaves them out of the text.
// Returns the exit code: 0, 1 after a message on `err` (with the number of the line) if the file or
// a line is bad, 2 if the arguments are.
int RunTokenize(std::span<const std::string_view> args, std::istream& in, std::ostream& out,
                std::ostream& err);

}  // namespace tessera::cli
