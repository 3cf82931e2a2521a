#pragma once

// Keeps the process alive when a mapped file shrinks, or its disk fails, while it is being read.
//
// Reading a page of a map that the file no longer backs raises SIGBUS. A guard registers one map;
// for a fault inside it the handler lays zeros over the rest of the map, from the faulting page to
// the end, notes where, and lets the read go on: the reader sees zeros and learns from damaged()
// that they are not data. (The rest, not the one page: after a truncation nothing behind the fault
// is there, and page by page the map would fall into more pieces than the kernel allows.)
//
// The handler and its table are the one global state of the project: a signal has one handler per
// process, and the handler may touch nothing but plain memory. It is installed with the first
// guard and stays; faults outside every guarded map go to the handler that was there before, or
// kill the process as they would have. A library that takes SIGBUS later takes this safety away.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/statusor.h"

namespace tessera {

// Guards [map.begin, map.end) while it lives; destroy it before unmapping. Movable. Thread-safe.
class MapGuard {
 public:
  static constexpr size_t kGuardsMax = 4096;

  MapGuard() = default;
  // `map` begins at a page boundary. kResourceExhausted: kGuardsMax maps are guarded already;
  // kInternal: the handler cannot be installed.
  static absl::StatusOr<MapGuard> Protect(std::span<const std::byte> map);
  MapGuard(MapGuard&& other) noexcept : slot_(std::exchange(other.slot_, kNone)) {}
  MapGuard& operator=(MapGuard&& other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~MapGuard();

  // One relaxed load: cheap enough for every step of an engine.
  bool damaged() const;
  // Lowest offset in the map that has been replaced by zeros, a multiple of the page size.
  std::optional<size_t> damaged_from() const;

 private:
  static constexpr size_t kNone = SIZE_MAX;
  explicit MapGuard(size_t slot) : slot_(slot) {}
  size_t slot_ = kNone;
};

}  // namespace tessera
