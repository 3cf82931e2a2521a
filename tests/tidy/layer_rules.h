#pragma once

// Includes held against the layers: CMake refuses a wrong dependency, this finds the include that
// needs a dependency nobody named (all libraries share one include root, so that it would compile).

#include <string>
#include <vector>

#include "tests/tidy/rules.h"
#include "tests/tidy/source_text.h"

namespace tessera::tidy {

// One tessera_library, as configured.
struct Library {
  std::string name;  // tessera_common_base
  int layer = 0;
  std::string house;
  std::vector<std::string> files;         // headers and sources, from the root of the project
  std::vector<std::string> dependencies;  // names of libraries of ours: direct ones, not sorted
};

// Reads what tessera_header_check wrote; stops the test program if a line has not seven fields.
std::vector<Library> ParseLibraryTable(const std::string& table);

// Each include of ours stays in the library of `source` or goes to one it depends on, at any depth.
Findings CheckIncludeLayers(const SourceText& source, const std::vector<Library>& libraries);

// A source or header below common/ or services/ is named by `cmake_lists`, the CMakeLists.txt of
// its folder (empty if there is none): what no target names is neither built nor tested.
Findings CheckNamedByCMake(const std::string& path, const std::string& cmake_lists);

}  // namespace tessera::tidy
