// A queue between a writer and a reader that do not trust each other.

#include "common/transport/slot_queue.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "common/concurrency/thread.h"

namespace tessera {
namespace {

class SlotQueueTest : public ::testing::Test {
 protected:
  static std::vector<std::byte> Bytes(size_t count, uint64_t seed) {
    std::vector<std::byte> bytes(count);
    for (size_t i = 0; i < count; ++i) bytes[i] = std::byte(RandomBits(seed, i) & 0xff);
    return bytes;
  }
  bool Write(const std::vector<std::byte>& bytes) {
    return writer_.Write(bytes, static_cast<uint32_t>(bytes.size()));
  }

  const std::unique_ptr<SlotMemory> memory_ = std::make_unique<SlotMemory>();
  SlotWriter writer_{*memory_};
  SlotReader reader_{*memory_};
};

TEST_F(SlotQueueTest, PayloadsComeWholeAndInOrder) {
  for (const size_t bytes : {size_t{1}, size_t{63}, size_t{4096}, kSlotBytes}) {
    for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(Write(Bytes(bytes, i)));
    for (uint64_t i = 0; i < 3; ++i) {
      const auto payload = reader_.Read();
      ASSERT_TRUE(payload.has_value());
      EXPECT_TRUE(std::ranges::equal(payload->bytes, Bytes(bytes, i))) << bytes;
      EXPECT_EQ(payload->total, bytes);
      reader_.Free(payload->slot);
    }
    EXPECT_FALSE(reader_.Read().has_value());
  }
}

TEST_F(SlotQueueTest, SlotsComeBackWhateverTheOrderOfFreeing) {
  Random random(3);
  std::vector<uint32_t> held;
  uint64_t written = 0;
  uint64_t read = 0;
  for (int step = 0; step < 20000; ++step) {
    if (random.Below(2) == 0) {
      written += Write(Bytes(1 + RandomBits(9, written) % 70, written));
    } else if (const auto payload = reader_.Read(); payload.has_value()) {
      ASSERT_TRUE(std::ranges::equal(payload->bytes, Bytes(payload->bytes.size(), read)));
      ++read;
      held.push_back(payload->slot);
    }
    if (held.size() > 1 + random.Below(kSlotCount - 1)) {
      const size_t which = random.Below(held.size() - 1);  // the first is kept for ever
      reader_.Free(held[which + 1]);
      held.erase(held.begin() + static_cast<ptrdiff_t>(which) + 1);
    }
  }
  EXPECT_GT(read, 5000u) << "it came to a stop";
}

TEST_F(SlotQueueTest, LittleInFlightTouchesLittleMemory) {
  for (uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(Write(Bytes(100, i)) && Write(Bytes(100, i)));
    for (const uint32_t slot : {0u, 1u}) {
      const auto payload = reader_.Read();
      ASSERT_TRUE(payload.has_value());
      EXPECT_EQ(payload->slot, slot);
    }
    reader_.Free(1);
    reader_.Free(0);
  }
}

TEST_F(SlotQueueTest, AFullQueueRingsWhenASlotIsFree) {
  for (uint32_t i = 0; i < kSlotCount; ++i) ASSERT_TRUE(Write(Bytes(10, i)));
  const auto first = reader_.Read();
  ASSERT_TRUE(first.has_value());
  const auto second = reader_.Read();
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(reader_.Free(second->slot)) << "nobody waits yet";
  EXPECT_TRUE(Write(Bytes(10, 1)));
  EXPECT_FALSE(Write(Bytes(10, 1)));
  EXPECT_TRUE(reader_.Free(first->slot)) << "the writer waits";
  EXPECT_TRUE(Write(Bytes(10, 1)));
}

TEST_F(SlotQueueTest, ASleepingReaderIsWokenOnce) {
  EXPECT_TRUE(reader_.PrepareSleep());
  ASSERT_TRUE(Write(Bytes(10, 1)));
  EXPECT_TRUE(writer_.WakesReader());
  EXPECT_FALSE(writer_.WakesReader());
  EXPECT_FALSE(reader_.PrepareSleep()) << "something is there";
}

TEST_F(SlotQueueTest, WhatAWriterSaysIsCheckedBeforeItIsUsed) {
  const auto broken_by = [](uint64_t written, const SlotMemory::Entry& entry) {
    const auto memory = std::make_unique<SlotMemory>();
    memory->entries.fill(entry);
    memory->written = written;
    SlotReader reader(*memory);
    while (reader.Read().has_value()) {
    }
    return reader.broken();
  };
  EXPECT_FALSE(broken_by(1, {0, 10, 10}));
  EXPECT_TRUE(broken_by(1, {kSlotCount, 10, 10})) << "no such slot";
  EXPECT_TRUE(broken_by(1, {0, kSlotBytes + 1, 10})) << "longer than a slot";
  EXPECT_TRUE(broken_by(kSlotCount + 1, {0, 10, 10})) << "more than there are slots";
  EXPECT_TRUE(broken_by(2, {0, 10, 10})) << "a slot that is still read";
}

TEST_F(SlotQueueTest, TwoThreadsPassPayloads) {
  constexpr uint64_t kPayloads = 20000;
  Thread writing("writing", [&](const std::stop_token&) {
    for (uint64_t i = 0; i < kPayloads; ++i) {
      const auto bytes = Bytes(1 + i % 100, i);
      while (!Write(bytes)) sched_yield();
    }
  });
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < kPayloads;) {
    const auto payload = reader_.Read();
    if (!payload.has_value()) {
      sched_yield();
      continue;
    }
    wrong += !std::ranges::equal(payload->bytes, Bytes(1 + i % 100, i));
    reader_.Free(payload->slot);
    ++i;
  }
  writing.Stop();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace tessera
