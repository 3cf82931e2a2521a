#include "services/gateway/keys/key_set.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json.h"

namespace tessera::gateway {
namespace {

constexpr size_t kNameBytesMax = 64;
constexpr uint32_t kPerMinuteMax = 2'000'000'000;
constexpr double kWeightMax = 1000;

// A name is a label of metrics and a word of logs.
bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == '@';
         });
}

absl::Status ReadLimit(const JsonValue& value, uint32_t& limit) {
  TESSERA_ASSIGN_OR_RETURN(const uint64_t number, value.AsUnsigned(0, kPerMinuteMax));
  limit = static_cast<uint32_t>(number);
  return absl::OkStatus();
}

absl::Status ReadModels(const JsonValue& value, std::vector<std::string>& models) {
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, value.AsArray());
  for (const JsonValue element : elements) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view model, element.AsString());
    models.emplace_back(model);
  }
  if (models.empty()) return value.Unexpected("names of models; leave it out to allow all");
  return absl::OkStatus();
}

absl::Status ReadHash(const JsonValue& value, std::string& hash) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view text, value.AsString());
  const bool digits = text.size() == 2 * SHA256_DIGEST_LENGTH &&
                      std::all_of(text.begin(), text.end(),
                                  [](unsigned char c) { return absl::ascii_isxdigit(c); });
  // The value is not shown: someone may have put the key itself here.
  if (!digits) {
    return absl::InvalidArgumentError(
        absl::StrCat(value.Path(), ": expected the 64 hexadecimal digits of a SHA-256"));
  }
  hash = absl::HexStringToBytes(std::string(text));
  return absl::OkStatus();
}

absl::Status ReadMember(std::string_view name, const JsonValue& value, ApiKey& key) {
  if (name == "name") {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view text, value.AsString());
    if (!IsName(text)) return value.Unexpected("1 to 64 letters, digits, '_', '-', '.' and '@'");
    key.name = std::string(text);
    return absl::OkStatus();
  }
  if (name == "sha256") return ReadHash(value, key.sha256);
  if (name == "models") return ReadModels(value, key.models);
  if (name == "requests_per_minute") return ReadLimit(value, key.requests_per_minute);
  if (name == "tokens_per_minute") return ReadLimit(value, key.tokens_per_minute);
  if (name == "parallel_max") return ReadLimit(value, key.parallel_max);
  if (name == "weight") {
    TESSERA_ASSIGN_OR_RETURN(key.weight, value.AsNumber());
    if (key.weight > 0 && key.weight <= kWeightMax) return absl::OkStatus();
    return value.Unexpected("a number above 0, at most 1000");
  }
  if (name == "priority_min") {
    TESSERA_ASSIGN_OR_RETURN(const int64_t priority, value.AsInteger(INT32_MIN, INT32_MAX));
    key.priority_min = static_cast<int32_t>(priority);
    return absl::OkStatus();
  }
  if (name == "admin") {
    TESSERA_ASSIGN_OR_RETURN(key.admin, value.AsBool());
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(value.Path(), ": there is no such member"));
}

absl::StatusOr<ApiKey> ReadKey(const JsonValue& value) {
  TESSERA_ASSIGN_OR_RETURN(const JsonMembers members, value.AsObject());
  ApiKey key;
  for (const auto [name, member] : members) TESSERA_RETURN_IF_ERROR(ReadMember(name, member, key));
  TESSERA_RETURN_IF_ERROR(value.Member("name").status());
  TESSERA_RETURN_IF_ERROR(value.Member("sha256").status());
  return key;
}

}  // namespace

bool ApiKey::may_use(std::string_view model) const {
  return models.empty() || std::find(models.begin(), models.end(), model) != models.end();
}

absl::StatusOr<KeySet> KeySet::Parse(std::string_view json) {
  const JsonLimits limits = {.bytes_max = size_t{16} << 20, .depth_max = 8};
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(json, limits));
  for (const auto [name, member] : document.root().members()) {
    if (name != "keys")
      return absl::InvalidArgumentError(absl::StrCat(member.Path(), ": there is no such member"));
  }
  TESSERA_ASSIGN_OR_RETURN(const JsonValue array, document.root().Member("keys"));
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, array.AsArray());
  if (elements.size() > kKeysMax)
    return array.Unexpected(absl::StrCat("at most ", kKeysMax, " keys"));
  std::vector<ApiKey> keys;
  absl::flat_hash_set<std::string> seen;  // names are no hashes: one set does for both
  for (const JsonValue element : elements) {
    TESSERA_ASSIGN_OR_RETURN(ApiKey key, ReadKey(element));
    if (!seen.insert("name " + key.name).second)
      return absl::InvalidArgumentError(
          absl::StrCat(element.Path(), ": the name ", key.name, " stands twice"));
    if (!seen.insert("hash " + key.sha256).second)
      return absl::InvalidArgumentError(
          absl::StrCat(element.Path(), ": the hash of ", key.name, " stands twice"));
    keys.push_back(std::move(key));
  }
  return KeySet(std::move(keys));
}

const ApiKey* KeySet::Find(std::string_view secret) const {
  if (secret.empty() || secret.size() > kSecretBytesMax) return nullptr;
  const std::string hash = Sha256(secret);
  const ApiKey* found = nullptr;
  for (const ApiKey& key : keys_) {
    if (EqualInConstantTime(key.sha256, hash)) found = &key;
  }
  return found;
}

std::string Sha256(std::string_view text) {
  std::string hash(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return hash;
}

bool EqualInConstantTime(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view PresentedSecret(std::string_view authorization, std::string_view x_api_key) {
  constexpr std::string_view kScheme = "bearer";
  const auto trim = [](std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
  };
  authorization = trim(authorization);
  if (authorization.size() > kScheme.size() && authorization[kScheme.size()] == ' ' &&
      absl::EqualsIgnoreCase(std::string(authorization.substr(0, kScheme.size())),
                             std::string(kScheme))) {
    return trim(authorization.substr(kScheme.size()));
  }
  return trim(x_api_key);
}

}  // namespace tessera::gateway
