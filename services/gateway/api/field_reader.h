#pragma once

// Members of a JSON object with types and ranges. The first that is wrong is remembered as a status
// with its param; after that every read gives nothing, so that a reader checks once, at its end.
// For the sources of this folder only.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/json/json.h"

namespace tessera::gateway {

// An interval of numbers.
struct NumberRange {
  double min;
  double max;
  bool above_min = false;  // min itself is not in it
};

// Borrows the document and `status`, which readers of parts share.
class FieldReader {
 public:
  FieldReader(JsonValue object, absl::Status& status);

  // A member that is there and not null.
  std::optional<JsonValue> Find(std::string_view key) const;

  std::optional<float> Number(std::string_view key, NumberRange range);
  std::optional<int64_t> Integer(std::string_view key, int64_t min, int64_t max);
  std::optional<uint32_t> Count(std::string_view key, uint32_t min, uint32_t max);
  std::optional<bool> Bool(std::string_view key);
  std::optional<std::string> String(std::string_view key, size_t bytes_max = SIZE_MAX);
  std::optional<JsonValue> Array(std::string_view key);
  std::optional<JsonValue> Object(std::string_view key);
  std::vector<TokenId> TokenIds(std::string_view key, size_t count_max);

  // The same for members that must be there.
  std::string RequiredString(std::string_view key);
  std::optional<JsonValue> RequiredArray(std::string_view key);

  // Remembers that `value` is not what it must be: "a number from 0 to 2".
  void Refuse(const JsonValue& value, std::string_view expected);
  void RefuseMissing(std::string_view key, std::string_view expected);
  // Code "unsupported": the member `key` asks for what is not built.
  void RefuseUnsupported(std::string_view key, std::string_view why);
  void Fail(absl::Status status);

  bool ok() const { return status_.ok(); }
  absl::Status& status() { return status_; }
  const JsonValue& object() const { return object_; }
  // Path of the member `key`, as it is or would be.
  std::string PathOf(std::string_view key) const;

 private:
  JsonValue object_;
  absl::Status& status_;
};

// An array of token ids in [0, 2^31).
std::vector<TokenId> ReadTokenIds(const JsonValue& array, size_t count_max, FieldReader& fields);

}  // namespace tessera::gateway
