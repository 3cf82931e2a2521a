#pragma once

// The API keys of a server: an immutable set, read from a JSON file that holds no key, only hashes.
//
//   {"keys": [{"name": "team-a", "sha256": "<64 hexadecimal digits>", "models": ["trinity"],
//              "requests_per_minute": 600, "tokens_per_minute": 200000, "parallel_max": 32,
//              "weight": 2, "priority_min": -5, "admin": false}]}
//
// The hash is SHA-256 and not a slow one: keys are made with 256 random bits, so
// there is nothing to guess, and a slow hash would let strangers spend our processor with wrong
// keys.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::gateway {

struct ApiKey {
  std::string name;                  // unique; a label of metrics and logs
  std::string sha256;                // 32 bytes
  std::vector<std::string> models;   // that it may use; empty: all
  uint32_t requests_per_minute = 0;  // 0: no limit
  uint32_t tokens_per_minute = 0;    // prompt and produced; 0: no limit
  uint32_t parallel_max = 0;         // requests at a time; 0: no limit
  double weight = 1;                 // share of the queue beside other keys; (0, 1000]
  int32_t priority_min = 0;          // its requests go no further to the front than that
  bool admin = false;                // may read /metrics and /v1/experts/load on the public port

  bool may_use(std::string_view model) const;
  friend bool operator==(const ApiKey&, const ApiKey&) = default;
};

// Immutable, thread-safe.
class KeySet {
 public:
  // Errors: kInvalidArgument with the path of the member: a key without name or hash, a name or a
  // hash that stands twice, an unknown member, a value out of range, over kKeysMax keys.
  static absl::StatusOr<KeySet> Parse(std::string_view json);

  // The key with this secret, or null. Every hash is compared, each in constant time, so that the
  // answer's time tells nothing about the keys.
  const ApiKey* Find(std::string_view secret) const;

  const std::vector<ApiKey>& keys() const { return keys_; }

 private:
  explicit KeySet(std::vector<ApiKey> keys) : keys_(std::move(keys)) {}
  std::vector<ApiKey> keys_;
};
inline constexpr size_t kKeysMax = 4096;
inline constexpr size_t kSecretBytesMax = 512;  // longer ones are no keys

// SHA-256 of `text`, 32 bytes.
std::string Sha256(std::string_view text);
// Takes the same time whatever the bytes are; only the sizes may show.
bool EqualInConstantTime(std::string_view a, std::string_view b);

// The secret of a request's headers: "Bearer <secret>" in `authorization` (the scheme in any
// case), or else `x_api_key`. Empty if there is none.
std::string_view PresentedSecret(std::string_view authorization, std::string_view x_api_key);

}  // namespace tessera::gateway
