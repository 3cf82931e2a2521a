#pragma once

// The flags of one subcommand: declared once, parsed once, printed as help.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace tessera::cli {

// --name=value, --name value, and --name / --name=false for bool. The variables that are bound keep
// their value as the default. Thread-compatible.
class FlagSet {
 public:
  // usage: what follows the name of the program, e.g. "inspect DIR".
  FlagSet(const std::string& usage, std::string summary, std::string_view program = "tessera")
      : usage_(std::string(program) + " " + usage), summary_(std::move(summary)) {}

  void Add(std::string name, std::string* value, std::string help);
  void Add(std::string name, size_t* value, std::string help);
  void Add(std::string name, uint16_t* value, std::string help);
  void Add(std::string name, double* value, std::string help);
  void Add(std::string name, bool* value, std::string help);

  // kInvalidArgument names a flag that is unknown, lacks its value or has one that cannot be read;
  // the message lists the flags there are; or the first word too many. Words that are not flags go
  // to positional(). "--" ends the flags.
  absl::Status Parse(std::span<const std::string_view> args);
  const std::vector<std::string>& positional() const { return positional_; }
  // How many words that are not flags the command takes; none unless said. More of them are an
  // error of Parse, unless help is wanted.
  void TakeWords(size_t words_max) { words_max_ = words_max; }
  bool help_wanted() const { return help_wanted_; }
  // True if the flag stood on the command line.
  bool given(std::string_view name) const;
  std::string Help() const;

 private:
  struct Flag {
    std::string name;
    std::string default_text;
    std::string help;
    bool is_bool;
    bool given;
    std::function<bool(std::string_view)> read;
  };
  void Bind(std::string name, std::string default_text, std::string help, bool is_bool,
            std::function<bool(std::string_view)> read);
  Flag* Find(std::string_view name);
  absl::Status ParseFlag(std::string_view flag, std::span<const std::string_view>& rest);

  std::string usage_;  // with the program's name
  std::string summary_;
  std::vector<Flag> flags_;
  std::vector<std::string> positional_;
  size_t words_max_ = 0;
  bool help_wanted_ = false;
};

}  // namespace tessera::cli
