#pragma once

// One direction of a link through memory that two processes share: a queue of slots with one writer
// and one reader. A slot is seen when it is whole, so a writer that dies amid one leaves nothing
// behind; slots are read where they lie, and given back in any order.
//
//   writer: Write ─► bell, if WakesReader()        reader: Read ─► use ─► Free ─► bell, if it says
//   so
//
// The writer takes the lowest free slot: a link with little in flight stays in the cache.
// Neither end trusts what the other wrote: numbers are checked before use.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace tessera {

inline constexpr uint32_t kSlotCount = 64;
inline constexpr size_t kSlotBytes = size_t{128} << 10;

// In shared memory, zeroed at first; committed as it is used.
struct SlotMemory {
  struct Entry {
    uint32_t slot;
    uint32_t bytes;  // of the payload
    uint32_t total;  // of what the payload is a piece of
  };
  alignas(64) std::atomic<uint64_t> written;     // entries ever; the n-th stands at n % kSlotCount
  alignas(64) std::atomic<uint64_t> used_slots;  // a bit each: set by the writer, cleared by Free
  alignas(64) std::atomic<uint32_t> reader_sleeps;  // wants its bell rung when something is written
  alignas(64) std::atomic<uint32_t> writer_waits;   // wants its bell rung when something is freed
  alignas(64) std::array<Entry, kSlotCount> entries;
  alignas(4096) std::array<std::array<std::byte, kSlotBytes>, kSlotCount> slots;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// Thread-compatible, as is SlotReader; the two ends may be in different threads or processes.
class SlotWriter {
 public:
  explicit SlotWriter(SlotMemory& memory) : memory_(memory) {}

  // Copies a payload of at most kSlotBytes in; `total` is for the reader. False: no slot is free
  // now; the bell tells when one was freed.
  bool Write(std::span<const std::byte> payload, uint32_t total);
  // After Write: whether the reader sleeps and wants its bell rung.
  bool WakesReader();

 private:
  bool TryWrite(std::span<const std::byte> payload, uint32_t total);

  SlotMemory& memory_;
  uint64_t written_ = 0;
};

class SlotReader {
 public:
  struct Payload {
    std::span<const std::byte> bytes;  // until Free(slot)
    uint32_t total = 0;
    uint32_t slot = 0;
  };

  explicit SlotReader(SlotMemory& memory) : memory_(memory) {}

  // The next payload; nothing if there is none, or if broken().
  std::optional<Payload> Read();
  // Whether the writer broke the rules; nothing is read any more.
  bool broken() const { return broken_; }
  // Gives a slot back. True: the writer waits for one and wants its bell rung.
  bool Free(uint32_t slot);
  // Asks for the bell. False: something is there already.
  bool PrepareSleep();

 private:
  SlotMemory& memory_;
  uint64_t read_ = 0;
  uint64_t held_slots_ = 0;  // a bit each
  bool broken_ = false;
};

}  // namespace tessera
