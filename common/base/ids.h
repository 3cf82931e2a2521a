#pragma once

// Identities as types of their own: they compare and print, they do not add up.

#include <cstddef>
#include <cstdint>

namespace tessera {

enum class LayerIndex : uint32_t {};  // 0 .. layer_count-1
enum class ExpertId : uint32_t {};    // 0 .. expert_count-1, within one layer
enum class ShardId : uint32_t {};     // one expert shard of a cluster
enum class SequenceId : uint64_t {};  // one running generation, unique within a router's life
enum class Epoch : uint64_t {};       // version of the placement map
using TokenId = int32_t;              // 0 .. vocab-1

template <typename Id>
constexpr size_t ToIndex(Id id) {
  return static_cast<size_t>(id);
}

}  // namespace tessera
