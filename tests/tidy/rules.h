#pragma once

// The rules of the tree as functions of one file each. A rule returns what it found, empty when the
// file keeps it. Their reasons are in CONTRIBUTING.md.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/tidy/source_text.h"

namespace tessera::tidy {

struct Finding {
  std::string path;
  size_t line = 0;  // from 1
  std::string text;
};

using Findings = std::vector<Finding>;

// A function body of at most 70 lines, counted from the first line of its signature to its brace.
Findings CheckFunctionLength(const SourceText& source);

// A header has at most 250 lines, any other source at most 500.
Findings CheckFileLength(const SourceText& source);

// A header's first line of code is #pragma once.
Findings CheckPragmaOnce(const SourceText& source);

// #include "...": a path from the root that `exists` (or what is generated, or a library that takes
// quotes); <...>: never ours.
Findings CheckIncludePaths(const SourceText& source,
                           const std::function<bool(const std::string&)>& exists);

// room.cc includes its own room.h, where that `exists`, before anything else: then it has shown
// with every build that the header compiles alone.
Findings CheckOwnHeaderFirst(const SourceText& source,
                             const std::function<bool(const std::string&)>& exists);

// A heavy library has one door: which folders may include what. A test may include what the folder
// it mirrors may.
Findings CheckIncludeDoors(const SourceText& source);

// The clocks of the system are read in common/base/clock.cc alone.
Findings CheckClocks(const SourceText& source);

// No Manager, Util, Helper, Get, Do, Handle, Process among the names a header declares.
Findings CheckNames(const SourceText& source);

// A note for later names its number, in the form TODO(#123): ...
Findings CheckTodos(const SourceText& source);

// Tests do not sleep.
Findings CheckSleeps(const SourceText& source);

// No path of one person's machine, in any kind of file.
Findings CheckMachinePaths(std::string_view path, std::string_view text);

}  // namespace tessera::tidy
