#include "services/cli/flag_set.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tessera::cli {
namespace {

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

bool ReadSize(std::string_view text, size_t max, size_t& value) {
  uint64_t parsed = 0;
  if (text.empty() || text[0] == '-' || !absl::SimpleAtoi(ToAbsl(text), &parsed) || parsed > max)
    return false;
  value = parsed;
  return true;
}

}  // namespace

void FlagSet::Bind(std::string name, std::string default_text, std::string help, bool is_bool,
                   std::function<bool(std::string_view)> read) {
  flags_.push_back(
      {std::move(name), std::move(default_text), std::move(help), is_bool, false, std::move(read)});
}

void FlagSet::Add(std::string name, std::string* value, std::string help) {
  Bind(std::move(name), *value, std::move(help), false, [value](std::string_view text) {
    *value = std::string(text);
    return true;
  });
}

void FlagSet::Add(std::string name, size_t* value, std::string help) {
  Bind(std::move(name), absl::StrCat(*value), std::move(help), false,
       [value](std::string_view text) {
         return ReadSize(text, std::numeric_limits<size_t>::max(), *value);
       });
}

void FlagSet::Add(std::string name, uint16_t* value, std::string help) {
  Bind(std::move(name), absl::StrCat(*value), std::move(help), false,
       [value](std::string_view text) {
         size_t wide = 0;
         if (!ReadSize(text, std::numeric_limits<uint16_t>::max(), wide)) return false;
         *value = static_cast<uint16_t>(wide);
         return true;
       });
}

void FlagSet::Add(std::string name, double* value, std::string help) {
  Bind(std::move(name), absl::StrCat(*value), std::move(help), false,
       [value](std::string_view text) {
         return absl::SimpleAtod(ToAbsl(text), value) && std::isfinite(*value);
       });
}

void FlagSet::Add(std::string name, bool* value, std::string help) {
  Bind(std::move(name), *value ? "true" : "false", std::move(help), true,
       [value](std::string_view text) { return absl::SimpleAtob(ToAbsl(text), value); });
}

FlagSet::Flag* FlagSet::Find(std::string_view name) {
  const auto found = std::ranges::find(
      flags_, name, [](const Flag& flag) -> std::string_view { return flag.name; });
  return found == flags_.end() ? nullptr : &*found;
}

bool FlagSet::given(std::string_view name) const {
  return std::ranges::any_of(flags_,
                             [&](const Flag& flag) { return flag.name == name && flag.given; });
}

absl::Status FlagSet::ParseFlag(std::string_view flag, std::span<const std::string_view>& rest) {
  const size_t equals = flag.find('=');
  const std::string_view name = flag.substr(0, equals);
  Flag* known = Find(name);
  if (known == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("flag --", ToAbsl(name), " is unknown; there are ",
                     absl::StrJoin(flags_, ", ", [](std::string* out, const Flag& f) {
                       absl::StrAppend(out, "--", f.name);
                     })));
  }
  std::string_view value = "true";
  if (equals != std::string_view::npos) {
    value = flag.substr(equals + 1);
  } else if (!known->is_bool) {
    if (rest.empty())
      return absl::InvalidArgumentError(absl::StrCat("flag --", known->name, " lacks its value"));
    value = rest.front();
    rest = rest.subspan(1);
  }
  known->given = true;
  if (!known->read(value)) {
    return absl::InvalidArgumentError(absl::StrCat("flag --", known->name, ": cannot read '",
                                                   ToAbsl(value), "'; it is: ", known->help));
  }
  return absl::OkStatus();
}

absl::Status FlagSet::Parse(std::span<const std::string_view> args) {
  while (!args.empty()) {
    const std::string_view word = args.front();
    args = args.subspan(1);
    if (word == "--") {
      positional_.insert(positional_.end(), args.begin(), args.end());
      break;
    }
    if (word == "--help" || word == "-h") {
      help_wanted_ = true;
    } else if (word.starts_with("--")) {
      if (absl::Status status = ParseFlag(word.substr(2), args); !status.ok()) return status;
    } else {
      positional_.emplace_back(word);
    }
  }
  if (positional_.size() > words_max_ && !help_wanted_) {
    return absl::InvalidArgumentError(absl::StrCat("'", positional_[words_max_],
                                                   "' is a word too many; usage: ", usage_,
                                                   ", and flags as --help lists them"));
  }
  return absl::OkStatus();
}

std::string FlagSet::Help() const {
  std::string text = absl::StrCat("usage: ", usage_, "\n\n", summary_, "\n");
  if (!flags_.empty()) absl::StrAppend(&text, "\n");
  for (const Flag& flag : flags_) {
    absl::StrAppend(&text, "  --", flag.name, "  ", flag.help);
    if (!flag.default_text.empty()) absl::StrAppend(&text, " (default ", flag.default_text, ")");
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace tessera::cli
