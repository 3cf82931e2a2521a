#pragma once

// The one reader of JSON: config.json, safetensors headers, tokenizer.json, requests.
//
//   text --JsonDocument::Parse--> document (owns everything) --root()--> values (16-byte handles)
//
// Strict RFC 8259: no comments, no NaN or Infinity, no number beyond double's range, valid UTF-8,
// nothing after the value; a key may stand once in an object. Numbers without fraction and exponent
// keep all 64 bits. Every accessor that fails says where ("text_config.layers[3].name"), what it
// found and what it expected, as kInvalidArgument; a reader of files that are damaged rather than
// wrong turns that into kDataLoss.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera {

enum class JsonKind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
std::string_view NameOf(JsonKind kind);  // "null", "boolean", "number", "string", "array", "object"

// What Parse accepts at most; over it the text is refused with the limit in the message.
struct JsonLimits {
  size_t bytes_max = size_t{64} << 20;   // of text; at most 4 GiB
  size_t depth_max = 64;                 // containers inside each other
  size_t values_max = size_t{16} << 20;  // values in all; memory is 32 bytes a value plus the text
};

struct JsonTree;
class JsonElements;
class JsonMembers;

// One value of a document, borrowed: valid while the JsonDocument it came from lives (the document
// may be moved). Copying is free. Thread-safe, like all reads of a document.
class JsonValue {
 public:
  JsonKind kind() const;
  bool is_null() const { return kind() == JsonKind::kNull; }
  bool is_bool() const { return kind() == JsonKind::kBool; }
  bool is_number() const { return kind() == JsonKind::kNumber; }
  // A number written without fraction and exponent that fits 64 bits: 3, not 3.0.
  bool is_integer() const;
  bool is_string() const { return kind() == JsonKind::kString; }
  bool is_array() const { return kind() == JsonKind::kArray; }
  bool is_object() const { return kind() == JsonKind::kObject; }

  absl::StatusOr<bool> AsBool() const;
  // A whole number in [min, max]; 3.0 and 3e0 are whole, 3.5 and "3" are not.
  absl::StatusOr<int64_t> AsInteger(int64_t min = INT64_MIN, int64_t max = INT64_MAX) const;
  absl::StatusOr<uint64_t> AsUnsigned(uint64_t min = 0, uint64_t max = UINT64_MAX) const;
  absl::StatusOr<double> AsNumber() const;            // finite by construction
  absl::StatusOr<std::string_view> AsString() const;  // unescaped; borrowed from the document
  absl::StatusOr<JsonElements> AsArray() const;
  absl::StatusOr<JsonMembers> AsObject() const;
  absl::StatusOr<JsonValue> Member(std::string_view key) const;  // error: no object, or no such key

  // The member called `key`; nothing if there is none or this is no object. O(log members).
  std::optional<JsonValue> Find(std::string_view key) const;
  // for (JsonValue v : value.elements()); nothing if this is no array.
  JsonElements elements() const;
  // for (auto [key, v] : value.members()); nothing if this is no object.
  JsonMembers members() const;
  // Elements of an array or members of an object; 0 for the rest.
  size_t size() const;
  // Child `i` of an array or object, in the text's order; i < size().
  JsonValue at(size_t i) const;
  // Key under which this value stands in its object; empty for elements and the root.
  std::string_view key() const;

  // "rope_parameters.rope_theta", "layer_types[3]"; "the document" for the root.
  std::string Path() const;
  // The value in a few words for messages: "string 'abc'", "number 3", "array of 5".
  std::string Describe() const;
  // kInvalidArgument "<path>: found <Describe()>; expected <expected>".
  absl::Status Unexpected(std::string_view expected) const;

 private:
  friend class JsonDocument;
  friend class JsonElements;
  friend class JsonMembers;
  JsonValue(const JsonTree* tree, uint32_t index) : tree_(tree), index_(index) {}
  const JsonTree* tree_;
  uint32_t index_;
};

// The children of an array, for range-for.
class JsonElements {
 public:
  class Iterator {
   public:
    explicit Iterator(JsonValue value) : value_(value) {}
    JsonValue operator*() const { return value_; }
    Iterator& operator++() {
      ++value_.index_;
      return *this;
    }
    bool operator==(const Iterator& o) const { return value_.index_ == o.value_.index_; }

   private:
    JsonValue value_;
  };
  Iterator begin() const { return Iterator(JsonValue(tree_, first_)); }
  Iterator end() const { return Iterator(JsonValue(tree_, first_ + count_)); }
  size_t size() const { return count_; }
  JsonValue operator[](size_t i) const {
    return JsonValue(tree_, first_ + static_cast<uint32_t>(i));
  }

 private:
  friend class JsonValue;
  JsonElements(const JsonTree* tree, uint32_t first, uint32_t count)
      : tree_(tree), first_(first), count_(count) {}
  const JsonTree* tree_;
  uint32_t first_;
  uint32_t count_;
};

// The members of an object, for range-for, as (key, value) in the text's order.
class JsonMembers {
 public:
  class Iterator {
   public:
    explicit Iterator(JsonValue value) : value_(value) {}
    std::pair<std::string_view, JsonValue> operator*() const { return {value_.key(), value_}; }
    Iterator& operator++() {
      ++value_.index_;
      return *this;
    }
    bool operator==(const Iterator& o) const { return value_.index_ == o.value_.index_; }

   private:
    JsonValue value_;
  };
  Iterator begin() const { return Iterator(JsonValue(tree_, first_)); }
  Iterator end() const { return Iterator(JsonValue(tree_, first_ + count_)); }
  size_t size() const { return count_; }

 private:
  friend class JsonValue;
  JsonMembers(const JsonTree* tree, uint32_t first, uint32_t count)
      : tree_(tree), first_(first), count_(count) {}
  const JsonTree* tree_;
  uint32_t first_;
  uint32_t count_;
};

// An immutable parsed text. Movable; values taken from it stay valid over a move.
class JsonDocument {
 public:
  // Errors: kInvalidArgument with line and column (bad syntax, depth, a number out of range) or
  // with the path (a key that stands twice), or with the limit that was passed.
  static absl::StatusOr<JsonDocument> Parse(std::string_view text, const JsonLimits& limits = {});
  // The same for a file's content; messages begin with the path of the file. Besides the errors of
  // ReadWholeFile.
  static absl::StatusOr<JsonDocument> ReadFile(const std::string& path,
                                               const JsonLimits& limits = {});

  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();

  JsonValue root() const;

 private:
  explicit JsonDocument(std::unique_ptr<const JsonTree> tree);
  std::unique_ptr<const JsonTree> tree_;
};

}  // namespace tessera
