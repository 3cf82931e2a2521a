#include <regex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/tidy/rules.h"

namespace tessera::tidy {
namespace {

// One door: what `include` names may be included only by files that `allowed` matches, both whole
// paths. A test counts as the folder it mirrors.
struct Door {
  Door(const char* include_, const char* allowed_, const char* reason_)
      : include(include_), allowed(allowed_), reason(reason_) {}

  std::regex include;
  std::regex allowed;
  const char* reason;
};

const std::vector<Door>& Doors() {
  static const std::vector<Door> doors = {
      {R"(.*\.grpc\.pb\.h|grpcpp/.*|grpc/.*)",
       R"(common/(rpc|transport)/.*|services/\w+/(upstream|cluster|registration|edge)/.*|)"
       R"((support|cluster|fuzz)/.*)",
       "gRPC stays in common/{rpc,transport} and upstream/, cluster/, registration/, edge/"},
      {R"(.*\.pb\.h|google/protobuf/.*)",
       R"(common/(config|wire|rpc|transport)/.*|services/\w+/(api|upstream|cluster|registration|edge)/.*|)"
       R"(services/\w+/\w+_config(_test)?\.(h|cc)|protos/.*|(support|cluster|fuzz)/.*)",
       "generated messages stay in common/{config,wire,rpc,transport}, api/, upstream/, cluster/, "
       "registration/, edge/ and the *_config of a service"},
      {R"(cuda.*|cublas.*)", R"(common/device/.*|.*_cuda\.cu)",
       "CUDA stays in common/device and *_cuda.cu"},
      {R"(uc[ptms]/.*|nccl.*\.h)", R"(common/transport/.*)",
       "UCX and NCCL stay in common/transport"},
      {R"(prometheus/.*)", R"(common/metrics/.*)", "prometheus-cpp stays in common/metrics"},
      {R"(thread|mutex|shared_mutex|condition_variable|future)", R"(common/concurrency/.*)",
       "threads and locks come from common/concurrency (tessera::Thread) and absl::Mutex"},
      {R"(nlohmann/.*)", R"(common/json/.*)", "JSON is read and written through common/json"},
      {R"(spdlog/.*)", R"(common/base/log\.cc)", "lines are logged through common/base/log.h"},
  };
  return doors;
}

// Installed libraries whose own custom is quotes.
bool IsQuotedLibrary(const std::string& include) {
  for (const char* folder : {"absl/", "gtest/", "gmock/", "google/protobuf/", "grpcpp/"}) {
    if (absl::StartsWith(include, folder)) return true;
  }
  return false;
}

bool IsOurs(std::string_view include) {
  for (const std::string_view folder : {"common/", "services/", "protos/", "tests/"}) {
    if (include.starts_with(folder)) return true;
  }
  return false;
}

}  // namespace

Findings CheckPragmaOnce(const SourceText& source) {
  if (!source.is_header()) return {};
  for (size_t i = 0; i < source.code.size(); ++i) {
    const std::string_view code = Trimmed(source.code[i]);
    if (code.empty()) continue;
    if (code == "#pragma once") return {};
    return {{source.path, i + 1, "a header begins with #pragma once"}};
  }
  return {{source.path, 1, "a header without code"}};
}

Findings CheckIncludePaths(const SourceText& source,
                           const std::function<bool(const std::string&)>& exists) {
  Findings findings;
  for (const Include& include : IncludesOf(source)) {
    const auto refuse = [&](const char* why) {
      findings.push_back({source.path, include.line, absl::StrCat(include.path, ": ", why)});
    };
    const bool generated = absl::EndsWith(include.path, ".pb.h");
    if (!include.quoted && IsOurs(include.path)) refuse("a header of ours is included with quotes");
    if (!include.quoted) continue;
    if (absl::StartsWith(include.path, ".") || absl::StrContains(include.path, "/../")) {
      refuse("the path of an include begins at the root of the project");
    } else if (!generated && !IsQuotedLibrary(include.path) && !exists(include.path)) {
      refuse("no such file from the root of the project; the C and C++ libraries take <...>");
    }
  }
  return findings;
}

Findings CheckOwnHeaderFirst(const SourceText& source,
                             const std::function<bool(const std::string&)>& exists) {
  if (!absl::EndsWith(source.path, ".cc")) return {};
  const std::string own = source.path.substr(0, source.path.size() - 2) + "h";
  if (!exists(own)) return {};
  const std::vector<Include> includes = IncludesOf(source);
  if (!includes.empty() && includes.front().path == own) return {};
  return {{source.path, includes.empty() ? 1 : includes.front().line,
           absl::StrCat("the first include is ", own)}};
}

Findings CheckIncludeDoors(const SourceText& source) {
  const std::string mirrored =
      source.is_test() ? source.path.substr(std::string("tests/").size()) : source.path;
  Findings findings;
  for (const Include& include : IncludesOf(source)) {
    for (const Door& door : Doors()) {
      if (!std::regex_match(include.path, door.include)) continue;
      if (!std::regex_match(mirrored, door.allowed)) {
        findings.push_back(
            {source.path, include.line, absl::StrCat(include.path, ": ", door.reason)});
      }
      break;
    }
  }
  return findings;
}

}  // namespace tessera::tidy
