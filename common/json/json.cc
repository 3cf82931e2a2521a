#include "common/json/json.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/json/json_tree.h"

namespace tessera {
namespace {

constexpr size_t kShownMax = 80;  // characters of a string or key in a message

std::string Shown(std::string_view text) {
  const bool cut = text.size() > kShownMax;
  text = text.substr(0, kShownMax);
  return absl::StrCat(absl::Utf8SafeCHexEscape(absl::string_view(text.data(), text.size())),
                      cut ? "..." : "");
}

const JsonNode& Root(const JsonTree& tree) { return tree.nodes.back(); }

// Whole value of a double, if it has one that 64 bits hold exactly.
bool IsWhole(double value) { return std::trunc(value) == value && std::fabs(value) <= 0x1p53; }

}  // namespace

std::string_view NameOf(JsonKind kind) {
  constexpr std::array<std::string_view, 6> kNames = {"null",   "boolean", "number",
                                                      "string", "array",   "object"};
  return kNames[static_cast<size_t>(kind)];
}

std::string JsonPathStep(std::string_view key) {
  const bool plain = !key.empty() && key.size() <= kShownMax &&
                     std::all_of(key.begin(), key.end(), [](unsigned char c) {
                       return std::isalnum(c) || c == '_' || c == '-';
                     });
  return plain ? std::string(key) : absl::StrCat("\"", Shown(key), "\"");
}

JsonKind JsonValue::kind() const { return tree_->nodes[index_].kind; }

absl::StatusOr<bool> JsonValue::AsBool() const {
  const JsonNode& node = tree_->nodes[index_];
  if (node.kind != JsonKind::kBool) return Unexpected("true or false");
  return node.boolean;
}

absl::StatusOr<int64_t> JsonValue::AsInteger(int64_t min, int64_t max) const {
  const JsonNode& node = tree_->nodes[index_];
  std::optional<int64_t> value;
  if (node.storage == JsonNode::Storage::kSigned) value = node.integer;
  if (node.storage == JsonNode::Storage::kUnsigned && node.natural <= INT64_MAX)
    value = static_cast<int64_t>(node.natural);
  if (node.storage == JsonNode::Storage::kDouble && IsWhole(node.number))
    value = static_cast<int64_t>(node.number);
  if (value && *value >= min && *value <= max) return *value;
  if (min == INT64_MIN && max == INT64_MAX) return Unexpected("a whole number");
  return Unexpected(absl::StrCat("a whole number from ", min, " to ", max));
}

absl::StatusOr<uint64_t> JsonValue::AsUnsigned(uint64_t min, uint64_t max) const {
  const JsonNode& node = tree_->nodes[index_];
  std::optional<uint64_t> value;
  if (node.storage == JsonNode::Storage::kUnsigned) value = node.natural;
  if (node.storage == JsonNode::Storage::kSigned && node.integer >= 0)
    value = static_cast<uint64_t>(node.integer);
  if (node.storage == JsonNode::Storage::kDouble && IsWhole(node.number) && node.number >= 0)
    value = static_cast<uint64_t>(node.number);
  if (value && *value >= min && *value <= max) return *value;
  return Unexpected(absl::StrCat("a whole number from ", min, " to ", max));
}

absl::StatusOr<double> JsonValue::AsNumber() const {
  const JsonNode& node = tree_->nodes[index_];
  switch (node.storage) {
    case JsonNode::Storage::kSigned:
      return static_cast<double>(node.integer);
    case JsonNode::Storage::kUnsigned:
      return static_cast<double>(node.natural);
    case JsonNode::Storage::kDouble:
      return node.number;
    default:
      return Unexpected("a number");
  }
}

absl::StatusOr<std::string_view> JsonValue::AsString() const {
  const JsonNode& node = tree_->nodes[index_];
  if (node.kind != JsonKind::kString) return Unexpected("a string");
  return tree_->Text(node.extent);
}

absl::StatusOr<JsonElements> JsonValue::AsArray() const {
  if (!is_array()) return Unexpected("an array");
  return elements();
}

absl::StatusOr<JsonMembers> JsonValue::AsObject() const {
  if (!is_object()) return Unexpected("an object");
  return members();
}

JsonElements JsonValue::elements() const {
  if (!is_array()) return {tree_, 0, 0};
  const JsonNode::Extent children = tree_->nodes[index_].extent;
  return {tree_, children.begin, children.size};
}

JsonMembers JsonValue::members() const {
  if (!is_object()) return {tree_, 0, 0};
  const JsonNode::Extent children = tree_->nodes[index_].extent;
  return {tree_, children.begin, children.size};
}

absl::StatusOr<JsonValue> JsonValue::Member(std::string_view key) const {
  if (!is_object()) return Unexpected("an object");
  if (std::optional<JsonValue> member = Find(key)) return *member;
  return absl::InvalidArgumentError(
      absl::StrCat(Path(), ": the key ", JsonPathStep(key), " is missing"));
}

std::optional<JsonValue> JsonValue::Find(std::string_view key) const {
  const JsonNode& node = tree_->nodes[index_];
  if (node.kind != JsonKind::kObject) return std::nullopt;
  const auto key_of = [this](uint32_t i) { return tree_->Text(tree_->nodes[i].key); };
  if (node.sorted == UINT32_MAX) {
    for (uint32_t i = node.extent.begin; i < node.extent.begin + node.extent.size; ++i) {
      if (key_of(i) == key) return JsonValue(tree_, i);
    }
    return std::nullopt;
  }
  const auto begin = tree_->sorted_members.begin() + node.sorted;
  const auto end = begin + node.extent.size;
  const JsonMemberEntry wanted = {JsonKeyHash(key), 0};
  auto found =
      std::lower_bound(begin, end, wanted, [&](const JsonMemberEntry& e, const JsonMemberEntry& w) {
        return e.hash != w.hash ? e.hash < w.hash : key_of(e.node) < key;
      });
  if (found == end || key_of(found->node) != key) return std::nullopt;
  return JsonValue(tree_, found->node);
}

size_t JsonValue::size() const {
  const JsonNode& node = tree_->nodes[index_];
  return is_array() || is_object() ? node.extent.size : 0;
}

JsonValue JsonValue::at(size_t i) const {
  TESSERA_CHECK(i < size());
  return {tree_, tree_->nodes[index_].extent.begin + static_cast<uint32_t>(i)};
}

std::string_view JsonValue::key() const { return tree_->Text(tree_->nodes[index_].key); }

std::string JsonValue::Path() const {
  if (&tree_->nodes[index_] == &Root(*tree_)) return "the document";
  std::string path;
  for (uint32_t i = index_; tree_->nodes[i].parent != UINT32_MAX;) {
    const uint32_t parent = tree_->nodes[i].parent;
    const JsonNode& container = tree_->nodes[parent];
    std::string step;
    if (container.kind == JsonKind::kArray) {
      step = absl::StrCat("[", i - container.extent.begin, "]");
    } else {
      step = absl::StrCat(container.parent == UINT32_MAX ? "" : ".",
                          JsonPathStep(tree_->Text(tree_->nodes[i].key)));
    }
    path.insert(0, step);
    i = parent;
  }
  return path;
}

bool JsonValue::is_integer() const {
  const JsonNode& node = tree_->nodes[index_];
  return node.kind == JsonKind::kNumber && (node.storage == JsonNode::Storage::kSigned ||
                                            node.storage == JsonNode::Storage::kUnsigned);
}

std::string JsonValue::Describe() const {
  const JsonNode& node = tree_->nodes[index_];
  switch (node.kind) {
    case JsonKind::kNull:
      return "null";
    case JsonKind::kBool:
      return node.boolean ? "true" : "false";
    case JsonKind::kNumber:
      if (node.storage == JsonNode::Storage::kSigned) return absl::StrCat("number ", node.integer);
      if (node.storage == JsonNode::Storage::kUnsigned)
        return absl::StrCat("number ", node.natural);
      return absl::StrCat("number ", node.number);
    case JsonKind::kString:
      return absl::StrCat("string '", Shown(tree_->Text(node.extent)), "'");
    case JsonKind::kArray:
      return absl::StrCat("array of ", node.extent.size);
    case JsonKind::kObject:
      return absl::StrCat("object of ", node.extent.size);
  }
  return "";
}

absl::Status JsonValue::Unexpected(std::string_view expected) const {
  return absl::InvalidArgumentError(
      absl::StrCat(Path(), ": found ", Describe(), "; expected ", std::string(expected)));
}

}  // namespace tessera
