#include "tests/tidy/layer_rules.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/check.h"

namespace tessera::tidy {
namespace {

std::vector<std::string> PartsOf(const std::string& text, char separator) {
  return absl::StrSplit(text, separator, absl::SkipEmpty());
}

const Library* OwnerOf(const std::string& path, const std::vector<Library>& libraries) {
  for (const Library& library : libraries) {
    const auto& files = library.files;
    if (std::find(files.begin(), files.end(), path) != files.end()) return &library;
  }
  return nullptr;
}

bool DependsOn(const Library& library, const Library& wanted,
               const std::vector<Library>& libraries) {
  for (const std::string& name : library.dependencies) {
    if (name == wanted.name) return true;
    for (const Library& below : libraries) {
      if (below.name == name && DependsOn(below, wanted, libraries)) return true;
    }
  }
  return false;
}

}  // namespace

std::vector<Library> ParseLibraryTable(const std::string& table) {
  std::vector<Library> libraries;
  for (const std::string& line : PartsOf(table, '\n')) {
    const std::vector<std::string> fields = absl::StrSplit(line, '|');
    TESSERA_CHECK(fields.size() == 7);
    Library library{.name = fields[0], .house = fields[2]};
    TESSERA_CHECK(absl::SimpleAtoi(fields[1], &library.layer));
    for (const std::string& file : PartsOf(fields[4] + "," + fields[5], ',')) {
      library.files.push_back(absl::StrCat(fields[3], "/", file));
    }
    for (const std::string& name : PartsOf(fields[6], ',')) {
      if (!absl::StartsWith(name, "tessera::")) continue;
      library.dependencies.push_back(absl::StrReplaceAll(name, {{"::", "_"}}));
    }
    libraries.push_back(std::move(library));
  }
  return libraries;
}

Findings CheckIncludeLayers(const SourceText& source, const std::vector<Library>& libraries) {
  const Library* own = OwnerOf(source.path, libraries);
  if (own == nullptr) return {};  // a test or a program
  Findings findings;
  for (const Include& include : IncludesOf(source)) {
    const Library* other = include.quoted ? OwnerOf(include.path, libraries) : nullptr;
    if (other == nullptr || other == own || DependsOn(*own, *other, libraries)) continue;
    findings.push_back(
        {source.path, include.line,
         absl::StrCat(include.path, ": ", own->name, " (layer ", own->layer,
                      ") does not depend on ", other->name, " (layer ", other->layer, ")")});
  }
  return findings;
}

Findings CheckNamedByCMake(const std::string& path, const std::string& cmake_lists) {
  if (!absl::StartsWith(path, "common/") && !absl::StartsWith(path, "services/")) return {};
  const std::vector<std::string> words =
      absl::StrSplit(cmake_lists, absl::ByAnyChar(" \n()"), absl::SkipEmpty());
  const std::string name = path.substr(path.rfind('/') + 1);
  if (std::find(words.begin(), words.end(), name) != words.end()) return {};
  return {{path, 1, "the CMakeLists.txt of its folder does not name this file"}};
}

}  // namespace tessera::tidy
