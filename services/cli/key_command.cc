#include "services/cli/key_command.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <ostream>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/entropy.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/json/json_writer.h"
#include "services/gateway/keys/key_set.h"

namespace tessera::cli {
namespace {

using gateway::ApiKey;
using gateway::KeySet;

struct KeyOptions {
  std::string name;
  std::string keys_file;
  std::string models;
  size_t requests_per_minute = 0;
  size_t tokens_per_minute = 0;
  size_t parallel_max = 0;
  double weight = 1;
  double priority_min = 0;
  bool admin = false;
};

std::string NewSecret() {
  std::array<char, 32> bytes;
  FillWithEntropy(std::as_writable_bytes(std::span(bytes)));
  const std::string text(bytes.data(), bytes.size());
  return absl::StrCat("tsr-", absl::WebSafeBase64Escape(text));
}

// Members at their defaults are left out.
std::string EntryJson(const ApiKey& key) {
  std::string text;
  JsonWriter json(text);
  json.Open('{').Key("name").String(key.name);
  json.Key("sha256").String(absl::BytesToHexString(key.sha256));
  if (!key.models.empty()) {
    json.Key("models").Open('[');
    for (const std::string& model : key.models) json.String(model);
    json.Close(']');
  }
  if (key.requests_per_minute > 0) json.Key("requests_per_minute").Integer(key.requests_per_minute);
  if (key.tokens_per_minute > 0) json.Key("tokens_per_minute").Integer(key.tokens_per_minute);
  if (key.parallel_max > 0) json.Key("parallel_max").Integer(key.parallel_max);
  if (key.weight != 1) json.Key("weight").Number(static_cast<float>(key.weight));
  if (key.priority_min != 0) json.Key("priority_min").Integer(key.priority_min);
  if (key.admin) json.Key("admin").Bool(true);
  json.Close('}');
  return text;
}

std::string FileText(const std::vector<ApiKey>& keys, const std::string& new_entry) {
  std::string text = "{\"keys\": [\n";
  for (const ApiKey& key : keys) absl::StrAppend(&text, "  ", EntryJson(key), ",\n");
  return absl::StrCat(text, "  ", new_entry, "\n]}\n");
}

// The keys of `path`; none if there is no such file.
absl::StatusOr<std::vector<ApiKey>> ReadKeys(const std::string& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0 && errno == ENOENT) return std::vector<ApiKey>();
  TESSERA_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path));
  const absl::StatusOr<KeySet> keys = KeySet::Parse(text);
  if (!keys.ok()) return Annotate(keys.status(), path);
  return keys->keys();
}

// What the file may be read by stays; a new one is its owner's alone.
unsigned ModeOf(const std::string& path) {
  struct stat found {};
  return stat(path.c_str(), &found) == 0 ? found.st_mode & 0777u : 0600u;
}

absl::StatusOr<ApiKey> KeyOf(const KeyOptions& options, const std::string& secret) {
  ApiKey key;
  key.name = options.name;
  key.sha256 = gateway::Sha256(secret);
  if (!options.models.empty()) key.models = absl::StrSplit(options.models, ',', absl::SkipEmpty());
  for (const auto& [flag, value, limit] :
       {std::tuple("requests_per_minute", options.requests_per_minute, &key.requests_per_minute),
        std::tuple("tokens_per_minute", options.tokens_per_minute, &key.tokens_per_minute),
        std::tuple("parallel_max", options.parallel_max, &key.parallel_max)}) {
    if (value > UINT32_MAX) {
      return absl::InvalidArgumentError(absl::StrCat("--", flag, " is too large"));
    }
    *limit = static_cast<uint32_t>(value);
  }
  key.weight = options.weight;
  if (options.priority_min != std::floor(options.priority_min) ||
      std::abs(options.priority_min) > INT32_MAX) {
    return absl::InvalidArgumentError("--priority_min is a whole number, 0 or below mostly");
  }
  key.priority_min = static_cast<int32_t>(options.priority_min);
  key.admin = options.admin;
  return key;
}

absl::Status MakeKey(const KeyOptions& options, const Streams& streams) {
  if (options.name.empty()) return absl::InvalidArgumentError("key needs --name=NAME");
  const std::string secret = NewSecret();
  TESSERA_ASSIGN_OR_RETURN(const ApiKey key, KeyOf(options, secret));
  std::vector<ApiKey> known;
  if (!options.keys_file.empty()) {
    TESSERA_ASSIGN_OR_RETURN(known, ReadKeys(options.keys_file));
  }
  const std::string entry = EntryJson(key);
  const std::string text = FileText(known, entry);
  // What the gateway would refuse is not written.
  TESSERA_RETURN_IF_ERROR(KeySet::Parse(text).status());
  if (!options.keys_file.empty()) {
    TESSERA_RETURN_IF_ERROR(ReplaceFile(options.keys_file, text, ModeOf(options.keys_file)));
    streams.out << secret << std::endl;
    streams.err << "the hash of " << key.name << " is in " << options.keys_file
                << "; the key is shown only here" << std::endl;
  } else {
    streams.out << secret << "\n" << entry << std::endl;
    streams.err << "the second line belongs into the keys file; the key is shown only here"
                << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace

int RunKey(std::span<const std::string_view> args, const Streams& streams) {
  KeyOptions options;
  FlagSet flags("key --name=NAME", "Makes an API key for gateways with a keys file.");
  flags.Add("name", &options.name, "of the key in metrics and logs: letters, digits and _-.@");
  flags.Add("keys_file", &options.keys_file,
            "file that gets the hash; without it: print the entry");
  flags.Add("models", &options.models, "names it may use, with commas; none: all");
  flags.Add("requests_per_minute", &options.requests_per_minute, "0: no limit");
  flags.Add("tokens_per_minute", &options.tokens_per_minute, "prompt and produced; 0: no limit");
  flags.Add("parallel_max", &options.parallel_max, "requests at a time; 0: no limit");
  flags.Add("weight", &options.weight, "share of the queue beside other keys, above 0 to 1000");
  flags.Add("priority_min", &options.priority_min,
            "its requests get no further to the front than that; smaller goes first");
  flags.Add("admin", &options.admin, "may read /metrics and the like on the public port");
  return RunWithFlags(flags, args, streams, [&] { return MakeKey(options, streams); });
}

}  // namespace tessera::cli
