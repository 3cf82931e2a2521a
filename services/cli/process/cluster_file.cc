#include "services/cli/process/cluster_file.h"

#include "absl/strings/str_cat.h"
#include "common/base/json_string.h"
#include "common/base/status.h"
#include "common/json/json.h"

namespace tessera::cli {
namespace {

absl::StatusOr<ClusterProcess> ReadProcess(const JsonValue& value) {
  ClusterProcess process;
  TESSERA_ASSIGN_OR_RETURN(const JsonMembers members, value.AsObject());
  for (const auto& [key, member] : members) {
    if (key == "pid") {
      TESSERA_ASSIGN_OR_RETURN(const int64_t pid, member.AsInteger(1, 1 << 30));
      process.pid = static_cast<int>(pid);
      continue;
    }
    if (!member.is_string()) continue;  // a later version may say more
    TESSERA_ASSIGN_OR_RETURN(const std::string_view text, member.AsString());
    if (key == "role") {
      process.role = std::string(text);
    } else if (key == "id") {
      process.id = std::string(text);
    } else {
      process.endpoints.emplace_back(std::string(key), std::string(text));
    }
  }
  return process;
}

}  // namespace

const std::string* ClusterProcess::Endpoint(const std::string& name) const {
  for (const auto& [key, address] : endpoints) {
    if (key == name) return &address;
  }
  return nullptr;
}

std::string ClusterJson(const std::vector<ClusterProcess>& processes) {
  std::string text = "{\"processes\":[";
  for (const ClusterProcess& process : processes) {
    absl::StrAppend(&text, &process == &processes.front() ? "\n" : ",\n",
                    "{\"role\":", JsonQuoted(process.role), ",\"id\":", JsonQuoted(process.id),
                    ",\"pid\":", process.pid);
    for (const auto& [name, address] : process.endpoints) {
      absl::StrAppend(&text, ",", JsonQuoted(name), ":", JsonQuoted(address));
    }
    text.push_back('}');
  }
  return absl::StrCat(text, "\n]}\n");
}

absl::StatusOr<std::vector<ClusterProcess>> ReadClusterFile(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::ReadFile(path));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue list, document.root().Member("processes"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, list.AsArray());
  std::vector<ClusterProcess> processes;
  for (const JsonValue element : elements) {
    TESSERA_ASSIGN_OR_RETURN(processes.emplace_back(), ReadProcess(element));
  }
  return processes;
}

absl::StatusOr<ClusterProcess> ReadEndpointsFile(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::ReadFile(path));
  TESSERA_ASSIGN_OR_RETURN(ClusterProcess process, ReadProcess(document.root()));
  for (auto& [name, address] : process.endpoints) {
    for (const std::string_view scheme : {"ucx:", "shm:", "grpc:"}) {
      if (address.starts_with(scheme)) address.erase(0, scheme.size());
    }
  }
  return process;
}

absl::StatusOr<std::string> GatewayAddressOf(const std::string& state_dir) {
  const std::string file = state_dir + "/cluster.json";
  const absl::StatusOr<std::vector<ClusterProcess>> processes = ReadClusterFile(file);
  if (absl::IsNotFound(processes.status())) {
    return Annotate(processes.status(),
                    "no cluster runs there; start one with `tessera up`, or give --address");
  }
  TESSERA_RETURN_IF_ERROR(processes.status());
  for (const ClusterProcess& process : *processes) {
    const std::string* http = process.Endpoint("http");
    if (process.role == "gateway" && http != nullptr) return *http;
  }
  return absl::UnavailableError(
      absl::StrCat(file, " names no gateway: it may be starting, or the model has no tokenizer"));
}

}  // namespace tessera::cli
