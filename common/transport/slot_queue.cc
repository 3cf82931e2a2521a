#include "common/transport/slot_queue.h"

#include <bit>
#include <cstring>

#include "common/base/check.h"

namespace tessera {
namespace {

constexpr uint64_t Bit(uint32_t slot) { return uint64_t{1} << slot; }

}  // namespace

bool SlotWriter::Write(std::span<const std::byte> payload, uint32_t total) {
  TESSERA_CHECK(payload.size() <= kSlotBytes);
  if (TryWrite(payload, total)) return true;
  // What is freed from now on rings the bell; what was freed just before does not.
  memory_.writer_waits.store(1, std::memory_order_seq_cst);
  return TryWrite(payload, total);
}

bool SlotWriter::TryWrite(std::span<const std::byte> payload, uint32_t total) {
  const uint64_t used = memory_.used_slots.load(std::memory_order_seq_cst);
  const auto slot = static_cast<uint32_t>(std::countr_one(used));
  if (slot == kSlotCount) return false;
  memory_.used_slots.fetch_or(Bit(slot), std::memory_order_relaxed);
  std::memcpy(memory_.slots[slot].data(), payload.data(), payload.size());
  memory_.entries[written_ % kSlotCount] = {slot, static_cast<uint32_t>(payload.size()), total};
  memory_.written.store(++written_, std::memory_order_seq_cst);
  return true;
}

bool SlotWriter::WakesReader() {
  return memory_.reader_sleeps.load(std::memory_order_seq_cst) != 0 &&
         memory_.reader_sleeps.exchange(0, std::memory_order_seq_cst) != 0;
}

std::optional<SlotReader::Payload> SlotReader::Read() {
  const uint64_t waiting = memory_.written.load(std::memory_order_acquire) - read_;
  if (waiting == 0 || broken_) return std::nullopt;
  const SlotMemory::Entry entry = memory_.entries[read_ % kSlotCount];
  broken_ = waiting > kSlotCount || entry.slot >= kSlotCount || entry.bytes > kSlotBytes ||
            (held_slots_ & Bit(entry.slot)) != 0;
  if (broken_) return std::nullopt;
  ++read_;
  held_slots_ |= Bit(entry.slot);
  return Payload{{memory_.slots[entry.slot].data(), entry.bytes}, entry.total, entry.slot};
}

bool SlotReader::Free(uint32_t slot) {
  TESSERA_CHECK(slot < kSlotCount && (held_slots_ & Bit(slot)) != 0);
  held_slots_ &= ~Bit(slot);
  memory_.used_slots.fetch_and(~Bit(slot), std::memory_order_seq_cst);
  return memory_.writer_waits.load(std::memory_order_seq_cst) != 0 &&
         memory_.writer_waits.exchange(0, std::memory_order_seq_cst) != 0;
}

bool SlotReader::PrepareSleep() {
  memory_.reader_sleeps.store(1, std::memory_order_seq_cst);
  return memory_.written.load(std::memory_order_seq_cst) == read_ || broken_;
}

}  // namespace tessera
