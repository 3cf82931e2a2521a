#include "services/cli/tokenize_command.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/json_string.h"
#include "common/base/status.h"
#include "common/json/json.h"
#include "common/text/tokenizer.h"

namespace tessera::cli {
namespace {

constexpr std::string_view kUsage =
    "usage: tessera tokenize --tokenizer=FILE [--add_special_tokens] [--decode] "
    "[--skip_special_tokens]\n";
constexpr std::string_view kHelp =
    "\n"
    "Reads standard input line by line: a JSON string becomes the list of its token ids.\n"
    "  --tokenizer            a tokenizer.json\n"
    "  --add_special_tokens   with those that begin or end a text\n"
    "  --decode               back: a JSON list of ids becomes a JSON string\n"
    "  --skip_special_tokens  of the ids, leave those out\n";

struct Flags {
  std::string tokenizer;
  bool add_special_tokens = false;
  bool decode = false;
  bool skip_special_tokens = false;
};

absl::StatusOr<Flags> ParseFlags(std::span<const std::string_view> args) {
  constexpr std::string_view kTokenizer = "--tokenizer=";
  Flags flags;
  for (const std::string_view arg : args) {
    if (arg.substr(0, kTokenizer.size()) == kTokenizer) {
      flags.tokenizer = arg.substr(kTokenizer.size());
    } else if (arg == "--add_special_tokens") {
      flags.add_special_tokens = true;
    } else if (arg == "--decode") {
      flags.decode = true;
    } else if (arg == "--skip_special_tokens") {
      flags.skip_special_tokens = true;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("unknown argument '", std::string(arg), "'"));
    }
  }
  if (flags.tokenizer.empty()) return absl::InvalidArgumentError("--tokenizer=FILE is missing");
  return flags;
}

// Value of "\uXXXX" at `at`, or -1.
int EscapedUnit(std::string_view line, size_t at) {
  if (line.substr(at, 2) != "\\u" || at + 6 > line.size()) return -1;
  int value = 0;
  for (const char c : line.substr(at + 2, 4)) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return -1;
    value = value * 16 + (absl::ascii_isdigit(static_cast<unsigned char>(c))
                              ? c - '0'
                              : absl::ascii_tolower(c) - 'a' + 10);
  }
  return value;
}

// Some writers of JSON escape halves of surrogate pairs. They are no characters, and strict readers
// refuse them; here they become U+FFFD, as they do wherever such a string is turned into UTF-8.
std::string ReplaceLoneSurrogates(std::string_view line) {
  std::string out;
  for (size_t at = 0; at < line.size();) {
    if (line[at] != '\\') {
      out += line[at++];
      continue;
    }
    const int unit = EscapedUnit(line, at);
    if (unit < 0xD800 || unit > 0xDFFF) {
      out += line.substr(at, 2);
      at += 2;
      continue;
    }
    const int next = EscapedUnit(line, at + 6);
    if (unit < 0xDC00 && next >= 0xDC00 && next <= 0xDFFF) {
      out += line.substr(at, 12);
      at += 12;
    } else {
      out += "\\ufffd";
      at += 6;
    }
  }
  return out;
}

absl::StatusOr<std::string> EncodeLine(const Tokenizer& tokenizer, const Flags& flags,
                                       std::string_view line) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document,
                           JsonDocument::Parse(ReplaceLoneSurrogates(line)));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view text, document.root().AsString());
  TESSERA_ASSIGN_OR_RETURN(
      const std::vector<TokenId> ids,
      tokenizer.Encode(text, {.add_special_tokens = flags.add_special_tokens}));
  std::string out = "[";
  for (const TokenId id : ids) absl::StrAppend(&out, out.size() > 1 ? "," : "", id);
  return out + "]";
}

absl::StatusOr<std::string> DecodeLine(const Tokenizer& tokenizer, const Flags& flags,
                                       std::string_view line) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(line));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, document.root().AsArray());
  std::vector<TokenId> ids;
  for (const JsonValue element : elements) {
    TESSERA_ASSIGN_OR_RETURN(const int64_t id, element.AsInteger(0, tokenizer.id_end() - 1));
    ids.push_back(static_cast<TokenId>(id));
  }
  return JsonQuoted(tokenizer.Decode(ids, {.skip_special_tokens = flags.skip_special_tokens}));
}

}  // namespace

int RunTokenize(std::span<const std::string_view> args, std::istream& in, std::ostream& out,
                std::ostream& err) {
  if (args.size() == 1 && args.front() == "--help") {
    out << kUsage << kHelp;
    return EXIT_SUCCESS;
  }
  const absl::StatusOr<Flags> flags = ParseFlags(args);
  if (!flags.ok()) {
    err << "tessera tokenize: " << flags.status().message() << '\n' << kUsage;
    return 2;
  }
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(flags->tokenizer);
  if (!tokenizer.ok()) {
    err << "tessera tokenize: " << tokenizer.status().message() << '\n';
    return 1;
  }
  std::string line;
  for (int64_t number = 1; std::getline(in, line, '\n'); ++number) {
    const absl::StatusOr<std::string> result = flags->decode
                                                   ? DecodeLine(**tokenizer, *flags, line)
                                                   : EncodeLine(**tokenizer, *flags, line);
    if (!result.ok()) {
      err << "tessera tokenize: line " << number << ": " << result.status().message()
          << (flags->decode ? "; expected a list of ids, as in [1,2]"
                            : "; expected a JSON string, as in \"Hello\"")
          << '\n';
      return EXIT_FAILURE;
    }
    out << *result << '\n' << std::flush;
  }
  return EXIT_SUCCESS;
}

}  // namespace tessera::cli
