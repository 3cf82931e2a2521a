#pragma once

// How a document lies in memory. For the sources of this folder only.
//
// The children of a container stand next to each other in `nodes`, in the text's order, before the
// container itself; the root is the last node. Strings and keys lie one after the other in `text`.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/json/json.h"

namespace tessera {

struct JsonNode {
  enum class Storage : uint8_t { kOther, kSigned, kUnsigned, kDouble };  // of a number
  struct Extent {
    uint32_t begin;
    uint32_t size;
  };

  JsonKind kind = JsonKind::kNull;
  Storage storage = Storage::kOther;
  uint32_t parent = UINT32_MAX;  // of the root: none
  Extent key = {0, 0};           // in `text`
  uint32_t sorted = UINT32_MAX;  // large objects: first of `size` entries in `sorted_members`
  union {
    bool boolean;
    int64_t integer;
    uint64_t natural;
    double number;
    Extent extent;  // string: in `text`; container: its children in `nodes`
  };
  JsonNode() : natural(0) {}
};

// A member of a large object in the index by key. Ordered by hash first (four times as fast to sort
// as by key), then by key, so that a text made of colliding keys costs no more than n log n.
struct JsonMemberEntry {
  uint32_t hash;
  uint32_t node;
};
inline uint32_t JsonKeyHash(std::string_view key) {
  return static_cast<uint32_t>(std::hash<std::string_view>()(key));
}

struct JsonTree {
  std::vector<JsonNode> nodes;
  std::vector<JsonMemberEntry> sorted_members;
  std::string text;

  std::string_view Text(JsonNode::Extent extent) const {
    return std::string_view(text).substr(extent.begin, extent.size);
  }
};

// Objects with more members than this are searched by bisection.
inline constexpr uint32_t kLinearMembersMax = 12;

// One step of a path: ".name", or "[\"odd name\"]" where the name is not plain.
std::string JsonPathStep(std::string_view key);

}  // namespace tessera
