#include "services/gateway/api/field_reader.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/gateway/api/api_error.h"

namespace tessera::gateway {
namespace {

std::string Words(NumberRange range) {
  return absl::StrCat("a number ", range.above_min ? "above " : "from ", range.min, " to ",
                      range.max);
}

}  // namespace

FieldReader::FieldReader(JsonValue object, absl::Status& status)
    : object_(object), status_(status) {
  if (!object_.is_object()) Refuse(object_, "an object");
}

std::optional<JsonValue> FieldReader::Find(std::string_view key) const {
  if (!status_.ok()) return std::nullopt;
  std::optional<JsonValue> value = object_.Find(key);
  if (value.has_value() && value->is_null()) return std::nullopt;
  return value;
}

std::optional<float> FieldReader::Number(std::string_view key, NumberRange range) {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value()) return std::nullopt;
  const absl::StatusOr<double> number = value->AsNumber();
  const bool inside = number.ok() && *number <= range.max &&
                      (range.above_min ? *number > range.min : *number >= range.min);
  if (inside) {
    const auto narrow = static_cast<float>(*number);
    // What is too small for a float must not become the bound that is not in the range.
    if (!range.above_min || narrow > range.min) return narrow;
    return static_cast<float>(range.min) + std::numeric_limits<float>::min();
  }
  Refuse(*value, Words(range));
  return std::nullopt;
}

std::optional<int64_t> FieldReader::Integer(std::string_view key, int64_t min, int64_t max) {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value()) return std::nullopt;
  const absl::StatusOr<int64_t> integer = value->AsInteger(min, max);
  if (integer.ok()) return *integer;
  Refuse(*value, absl::StrCat("a whole number from ", min, " to ", max));
  return std::nullopt;
}

std::optional<uint32_t> FieldReader::Count(std::string_view key, uint32_t min, uint32_t max) {
  const std::optional<int64_t> value = Integer(key, min, max);
  if (!value.has_value()) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

std::optional<bool> FieldReader::Bool(std::string_view key) {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value()) return std::nullopt;
  const absl::StatusOr<bool> boolean = value->AsBool();
  if (boolean.ok()) return *boolean;
  Refuse(*value, "true or false");
  return std::nullopt;
}

std::optional<std::string> FieldReader::String(std::string_view key, size_t bytes_max) {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value()) return std::nullopt;
  const absl::StatusOr<std::string_view> text = value->AsString();
  if (text.ok() && text->size() <= bytes_max) return std::string(*text);
  Refuse(*value, text.ok() ? absl::StrCat("a string of at most ", bytes_max, " bytes")
                           : std::string("a string"));
  return std::nullopt;
}

std::optional<JsonValue> FieldReader::Array(std::string_view key) {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value() || value->is_array()) return value;
  Refuse(*value, "an array");
  return std::nullopt;
}

std::optional<JsonValue> FieldReader::Object(std::string_view key) {
  const std::optional<JsonValue> value = Find(key);
  if (!value.has_value() || value->is_object()) return value;
  Refuse(*value, "an object");
  return std::nullopt;
}

std::vector<TokenId> FieldReader::TokenIds(std::string_view key, size_t count_max) {
  const std::optional<JsonValue> value = Array(key);
  if (!value.has_value()) return {};
  return ReadTokenIds(*value, count_max, *this);
}

std::string FieldReader::RequiredString(std::string_view key) {
  std::optional<std::string> text = String(key);
  if (text.has_value() && !text->empty()) return *std::move(text);
  RefuseMissing(key, "a string that is not empty");
  return {};
}

std::optional<JsonValue> FieldReader::RequiredArray(std::string_view key) {
  const std::optional<JsonValue> value = Array(key);
  if (value.has_value() && value->size() > 0) return value;
  RefuseMissing(key, "an array that is not empty");
  return std::nullopt;
}

void FieldReader::Refuse(const JsonValue& value, std::string_view expected) {
  const std::string path = value.Path();
  const absl::Status status = value.Unexpected(expected);
  Fail(BadRequest(path == "the document" ? "" : path,
                  std::string_view(status.message().data(), status.message().size())));
}

void FieldReader::RefuseMissing(std::string_view key, std::string_view expected) {
  const std::string path = PathOf(key);
  Fail(BadRequest(path, absl::StrCat(path, " is missing; expected ",
                                     absl::string_view(expected.data(), expected.size()))));
}

void FieldReader::RefuseUnsupported(std::string_view key, std::string_view why) {
  const std::string path = PathOf(key);
  Fail(Unsupported(
      path, absl::StrCat(path, " is not supported: ", absl::string_view(why.data(), why.size()))));
}

void FieldReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

std::string FieldReader::PathOf(std::string_view key) const {
  const std::string path = object_.Path();
  if (path == "the document") return std::string(key);
  return path + "." + std::string(key);
}

std::vector<TokenId> ReadTokenIds(const JsonValue& array, size_t count_max, FieldReader& fields) {
  std::vector<TokenId> ids;
  if (array.size() > count_max) {
    fields.Refuse(array, absl::StrCat("at most ", count_max, " token ids"));
    return ids;
  }
  ids.reserve(array.size());
  for (const JsonValue element : array.elements()) {
    const absl::StatusOr<int64_t> id = element.AsInteger(0, std::numeric_limits<int32_t>::max());
    if (!id.ok()) {
      fields.Refuse(element, "a token id, a whole number from 0 to 2147483647");
      return {};
    }
    ids.push_back(static_cast<TokenId>(*id));
  }
  return ids;
}

}  // namespace tessera::gateway
