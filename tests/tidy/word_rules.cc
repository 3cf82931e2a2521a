#include <regex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/tidy/rules.h"

namespace tessera::tidy {
namespace {

// One finding for each line of `lines` that `pattern` occurs in; `text` may say $0 for what
// matched.
Findings FindLines(std::string_view path, const std::vector<std::string>& lines,
                   const std::regex& pattern, const std::string& text) {
  Findings findings;
  std::smatch match;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (std::regex_search(lines[i], match, pattern)) {
      findings.push_back({std::string(path), i + 1, absl::StrCat(match.str(), ": ", text)});
    }
  }
  return findings;
}

}  // namespace

Findings CheckClocks(const SourceText& source) {
  if (source.path == "common/base/clock.cc") return {};
  static const std::regex pattern(
      R"(_clock::now\b|\babsl::Now\b|\bclock_gettime\b|\bgettimeofday\b|\btime\((nullptr|NULL|0)\))");
  return FindLines(source.path, source.code, pattern, "time comes from a tessera::Clock");
}

Findings CheckNames(const SourceText& source) {
  if (!source.is_header()) return {};
  // Whole words of names: FileManager and Utils, not Managers' cousin Manage or Utilisation.
  static const std::regex type_pattern(
      R"(\b(class|struct|enum class|using) (\w*[a-z0-9])?(Manager|Util|Utils|Helper|Helpers|Handler|Processor)\b)");
  static const std::regex file_pattern(R"((^|[/_])(manager|util|utils|helper|helpers)(_|\.))");
  // A declaration: the name follows a type or stands first, and is no call through . -> or ::
  static const std::regex function_pattern(
      R"((^|[\w>&*] )\s*(Get|Do|Handle|Process)([A-Z0-9]\w*)?\()");
  Findings findings =
      FindLines(source.path, source.code, type_pattern, "the name says nothing about the thing");
  if (std::regex_search(source.path, file_pattern)) {
    findings.push_back({source.path, 1, "the file's name says nothing about what is in it"});
  }
  for (Finding& finding : FindLines(source.path, source.code, function_pattern,
                                    "a verb tells cost: view(), Snapshot(), LoadExpert()")) {
    const std::string& code = source.code[finding.line - 1];
    const bool not_ours_to_name =
        absl::StrContains(code, " override") || absl::StrContains(code, "return ");
    if (!not_ours_to_name) findings.push_back(std::move(finding));
  }
  return findings;
}

Findings CheckTodos(const SourceText& source) {
  static const std::regex pattern(R"(\b(TODO(?!\(#\d+\): )|FIXME|XXX)\b.*)");
  return FindLines(source.path, source.comments, pattern, "write TODO(#123): ... or do it");
}

Findings CheckSleeps(const SourceText& source) {
  if (!source.is_test()) return {};
  static const std::regex pattern(
      R"(\b(sleep_for|sleep_until|SleepFor|usleep|nanosleep|sleep)\s*\()");
  return FindLines(source.path, source.code, pattern,
                   "a test waits for an event or moves a FakeClock");
}

Findings CheckMachinePaths(std::string_view path, std::string_view text) {
  // Split, so that this file does not find itself.
  static const std::regex pattern(R"((^|[^\w.$}])/(wo)"
                                  R"(rk|ro)"
                                  R"(ot|ho)"
                                  R"(me/\w+)/)");
  return FindLines(path, ParseSource("", text).lines, pattern, "a path of one machine");
}

}  // namespace tessera::tidy
