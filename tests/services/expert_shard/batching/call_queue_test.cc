#include "services/expert_shard/batching/call_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::expert_shard {
namespace {

using ::testing::ElementsAre;

struct Sample {
  uint64_t id = 0;
  uint64_t peer = 1;
  uint16_t layer = 1;
  uint8_t priority = 0;
  uint32_t budget_us = 0;
  absl::Duration arrived;
  uint32_t pairs = 2;
};

IncomingCall Call(const Sample& sample) {
  IncomingCall call;
  call.peer = PeerId{sample.peer};
  call.arrived = sample.arrived;
  call.call.header.call_id = sample.id;
  call.call.header.layer = sample.layer;
  call.call.header.priority = sample.priority;
  call.call.header.budget_us = sample.budget_us;
  call.call.header.rows = 1;
  call.call.header.pairs = sample.pairs;
  return call;
}

std::vector<uint64_t> Batch(CallQueue& queue, size_t pairs_max = 100) {
  std::vector<IncomingCall> batch;
  queue.TakeBatch(pairs_max, batch);
  std::vector<uint64_t> ids;
  for (const IncomingCall& call : batch) ids.push_back(call.call.header.call_id);
  return ids;
}

TEST(CallQueueTest, PriorityThenDeadlineThenArrival) {
  CallQueue queue;
  queue.Push(Call({.id = 1, .peer = 1, .arrived = absl::Milliseconds(2)}));
  queue.Push(Call({.id = 2, .peer = 2, .arrived = absl::Milliseconds(1)}));
  queue.Push(Call({.id = 3, .peer = 3, .budget_us = 900, .arrived = absl::Milliseconds(3)}));
  queue.Push(Call({.id = 4, .peer = 4, .budget_us = 500, .arrived = absl::Milliseconds(3)}));
  queue.Push(Call({.id = 5, .peer = 5, .priority = 1, .arrived = absl::Milliseconds(9)}));
  EXPECT_EQ(queue.rows(), 5u);
  EXPECT_THAT(Batch(queue), ElementsAre(5, 4, 3, 2, 1));
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.rows(), 0u);
}

TEST(CallQueueTest, TheMostUrgentChoosesTheLayer) {
  CallQueue queue;
  queue.Push(Call({.id = 1, .layer = 4}));
  queue.Push(Call({.id = 2, .peer = 2, .layer = 7, .priority = 2}));
  queue.Push(Call({.id = 3, .peer = 3, .layer = 7}));
  EXPECT_THAT(Batch(queue), ElementsAre(2, 3));
  EXPECT_THAT(Batch(queue), ElementsAre(1));
}

TEST(CallQueueTest, RoutersTakeTurns) {
  CallQueue queue;
  for (uint64_t id = 10; id < 14; ++id) queue.Push(Call({.id = id, .peer = 1}));
  queue.Push(Call({.id = 20, .peer = 2, .arrived = absl::Milliseconds(1)}));
  queue.Push(Call({.id = 30, .peer = 3, .arrived = absl::Milliseconds(2)}));
  EXPECT_THAT(Batch(queue, /*pairs_max=*/4), ElementsAre(10, 20));
  EXPECT_THAT(Batch(queue, /*pairs_max=*/4), ElementsAre(30, 11));
  EXPECT_THAT(Batch(queue, /*pairs_max=*/1), ElementsAre(12)) << "a large call goes alone";
}

TEST(CallQueueTest, LateIsWhatHasNoBudgetLeft) {
  CallQueue queue;
  queue.Push(Call({.id = 1, .budget_us = 100}));
  queue.Push(Call({.id = 2, .budget_us = 101}));
  queue.Push(Call({.id = 3}));
  std::vector<IncomingCall> late;
  queue.TakeLate(absl::Microseconds(100), late);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].call.header.call_id, 1u);
  EXPECT_EQ(queue.size(), 2u);
}

}  // namespace
}  // namespace tessera::expert_shard
