#pragma once

// Tools that people really define, and how they ask for them.

#include <span>
#include <string_view>
#include <vector>

namespace tessera::trainer {

enum class SlotKind { kNone, kCity, kPerson, kWord, kNumber, kThing };

struct EverydayTool {
  std::vector<std::string_view> names;
  std::vector<std::string_view> descriptions;
  std::vector<std::string_view> keys;  // names that its one parameter may have
  SlotKind slot;
  std::vector<std::string_view> requests;  // "$" is the value
};

std::span<const EverydayTool> EverydayTools();

}  // namespace tessera::trainer
