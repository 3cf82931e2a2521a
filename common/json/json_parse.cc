#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/json/json.h"
#include "common/json/json_tree.h"

namespace tessera {
namespace {

// Receives nlohmann's events and builds the tree: finished values wait on `pending_` until their
// container ends, then move to `nodes` together.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TreeBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Add(JsonKind::kNull); }
  bool boolean(bool value) override {
    if (!Add(JsonKind::kBool)) return false;
    pending_.back().boolean = value;
    return true;
  }
  bool number_integer(number_integer_t value) override {
    if (!Add(JsonKind::kNumber)) return false;
    pending_.back().storage = JsonNode::Storage::kSigned;
    pending_.back().integer = value;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!Add(JsonKind::kNumber)) return false;
    pending_.back().storage = JsonNode::Storage::kUnsigned;
    pending_.back().natural = value;
    return true;
  }
  bool number_float(number_float_t value, const string_t&) override {
    if (!Add(JsonKind::kNumber)) return false;
    pending_.back().storage = JsonNode::Storage::kDouble;
    pending_.back().number = value;
    return true;
  }
  bool string(string_t& value) override {
    if (!Add(JsonKind::kString)) return false;
    pending_.back().extent = Keep(value);
    return true;
  }
  bool binary(binary_t&) override { return Refuse("binary values are not JSON"); }
  bool start_object(size_t) override { return Open(JsonKind::kObject); }
  bool start_array(size_t) override { return Open(JsonKind::kArray); }
  bool key(string_t& value) override {
    key_ = Keep(value);
    return true;
  }
  bool end_object() override {
    Close();
    return IndexMembers(static_cast<uint32_t>(pending_.size() - 1));
  }
  bool end_array() override {
    Close();
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& e) override {
    std::string_view what = e.what();  // "[json.exception.parse_error.101] parse error at line..."
    if (const size_t end = what.find("] "); end != std::string_view::npos)
      what.remove_prefix(end + 2);
    return Refuse(std::string(what.substr(0, 240)));
  }

  const std::string& error() const { return error_; }
  JsonTree TakeTree() {
    tree_.nodes.push_back(pending_.front());
    AdoptChildren(static_cast<uint32_t>(tree_.nodes.size() - 1));
    return std::move(tree_);
  }

 private:
  bool Refuse(std::string message) {
    error_ = std::move(message);
    return false;
  }
  bool Add(JsonKind kind) {
    if (++value_count_ > limits_.values_max)
      return Refuse(absl::StrCat("more than ", limits_.values_max, " values"));
    JsonNode& node = pending_.emplace_back();
    node.kind = kind;
    node.key = std::exchange(key_, {0, 0});
    return true;
  }
  bool Open(JsonKind kind) {
    if (open_.size() >= limits_.depth_max)
      return Refuse(absl::StrCat("nested deeper than ", limits_.depth_max, " levels, at ", Path()));
    if (!Add(kind)) return false;
    open_.push_back(static_cast<uint32_t>(pending_.size() - 1));
    return true;
  }
  // Moves the children of the innermost open container to their final place.
  void Close() {
    const uint32_t container = open_.back();
    open_.pop_back();
    const uint32_t first = static_cast<uint32_t>(tree_.nodes.size());
    tree_.nodes.insert(tree_.nodes.end(), pending_.begin() + container + 1, pending_.end());
    pending_.resize(container + 1);
    const uint32_t count = static_cast<uint32_t>(tree_.nodes.size()) - first;
    pending_[container].extent = {first, count};
    for (uint32_t i = first; i < first + count; ++i) AdoptChildren(i);
  }
  // Tells the children of node `index` where their parent has come to stand.
  void AdoptChildren(uint32_t index) {
    const JsonNode& node = tree_.nodes[index];
    if (node.kind != JsonKind::kArray && node.kind != JsonKind::kObject) return;
    for (uint32_t i = 0; i < node.extent.size; ++i)
      tree_.nodes[node.extent.begin + i].parent = index;
  }
  // Refuses a key that stands twice, and sorts the members of a large object.
  bool IndexMembers(uint32_t object) {
    const JsonNode::Extent members = pending_[object].extent;
    if (members.size < 2) return true;
    std::vector<JsonMemberEntry>& sorted = tree_.sorted_members;
    const size_t first = sorted.size();
    const auto key_of = [this](uint32_t node) { return tree_.Text(tree_.nodes[node].key); };
    for (uint32_t i = members.begin; i < members.begin + members.size; ++i)
      sorted.push_back({JsonKeyHash(key_of(i)), i});
    using Entry = JsonMemberEntry;
    const auto begin = sorted.begin() + static_cast<ptrdiff_t>(first);
    std::sort(begin, sorted.end(), [&](const Entry& a, const Entry& b) {
      return a.hash != b.hash ? a.hash < b.hash : key_of(a.node) < key_of(b.node);
    });
    const auto twice = std::adjacent_find(begin, sorted.end(), [&](const Entry& a, const Entry& b) {
      return a.hash == b.hash && key_of(a.node) == key_of(b.node);
    });
    if (twice != sorted.end()) {
      open_.push_back(object);
      return Refuse(
          absl::StrCat("the key ", JsonPathStep(key_of(twice->node)), " stands twice in ", Path()));
    }
    if (members.size <= kLinearMembersMax) {
      sorted.resize(first);
    } else {
      pending_[object].sorted = static_cast<uint32_t>(first);
    }
    return true;
  }
  JsonNode::Extent Keep(const std::string& value) {
    const uint32_t begin = static_cast<uint32_t>(tree_.text.size());
    tree_.text += value;
    return {begin, static_cast<uint32_t>(value.size())};
  }
  // Of the innermost open container.
  std::string Path() const {
    std::string path;
    for (size_t depth = 1; depth < open_.size(); ++depth) {
      const uint32_t parent = open_[depth - 1];
      if (pending_[parent].kind == JsonKind::kObject) {
        absl::StrAppend(&path, path.empty() ? "" : ".",
                        JsonPathStep(tree_.Text(pending_[open_[depth]].key)));
      } else {
        absl::StrAppend(&path, "[", open_[depth] - parent - 1, "]");
      }
    }
    return path.empty() ? "the document" : path;
  }

  const JsonLimits& limits_;
  JsonTree tree_;
  std::vector<JsonNode> pending_;
  std::vector<uint32_t> open_;  // containers that have begun, as indices into pending_
  JsonNode::Extent key_ = {0, 0};
  size_t value_count_ = 0;
  std::string error_;
};

}  // namespace

absl::StatusOr<JsonDocument> JsonDocument::Parse(std::string_view text, const JsonLimits& limits) {
  const size_t bytes_max = std::min<size_t>(limits.bytes_max, UINT32_MAX);
  if (text.size() > bytes_max)
    return absl::InvalidArgumentError(
        absl::StrCat("JSON of ", text.size(), " bytes; at most ", bytes_max, " are read"));
  TreeBuilder builder(limits);
  try {
    if (!nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &builder))
      return absl::InvalidArgumentError(absl::StrCat("not valid JSON: ", builder.error()));
    return JsonDocument(std::make_unique<const JsonTree>(builder.TakeTree()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for JSON of ", text.size(), " bytes"));
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON: ", e.what()));
  }
}

absl::StatusOr<JsonDocument> JsonDocument::ReadFile(const std::string& path,
                                                    const JsonLimits& limits) {
  TESSERA_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, limits.bytes_max));
  absl::StatusOr<JsonDocument> document = Parse(text, limits);
  if (!document.ok()) return Annotate(document.status(), path);
  return document;
}

JsonDocument::JsonDocument(std::unique_ptr<const JsonTree> tree) : tree_(std::move(tree)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

JsonValue JsonDocument::root() const {
  return {tree_.get(), static_cast<uint32_t>(tree_->nodes.size() - 1)};
}

}  // namespace tessera
