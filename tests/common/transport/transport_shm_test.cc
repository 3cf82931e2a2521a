// What is special to shared memory of our own: large frames, full rings, strangers.

#include "common/transport/transport_shm.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/transport/shared_link.h"

namespace tessera {
namespace {

using Kind = TransportEvent::Kind;

class TransportShmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto name = there_->Listen("");
    ASSERT_TRUE(name.ok()) << name.status();
    name_ = *name;
    const auto link = here_->Open(name_);
    ASSERT_TRUE(link.ok()) << link.status();
    link_ = *link;
    ASSERT_TRUE(PollUntil(Kind::kAccepted));
    back_ = there_events_.back().link;
  }
  static std::vector<std::byte> Frame(size_t bytes, uint64_t seed) {
    std::vector<std::byte> frame(bytes);
    for (size_t i = 0; i < bytes; i += 97) frame[i] = std::byte(RandomBits(seed, i) & 0xff);
    return frame;
  }
  // Polls both ends until `there_` had such an event, which then is the last of there_events_.
  bool PollUntil(Kind kind) {
    const absl::Duration end = clock_.Elapsed() + absl::Seconds(10);
    while (clock_.Elapsed() < end) {
      here_->Poll(here_events_);
      std::vector<TransportEvent> events;
      there_->Poll(events);
      for (TransportEvent& event : events) waiting_.push_back(std::move(event));
      while (!waiting_.empty()) {
        there_events_.push_back(std::move(waiting_.front()));
        waiting_.erase(waiting_.begin());
        if (there_events_.back().kind == kind) return true;
      }
    }
    return false;
  }

  const RealClock clock_;
  std::unique_ptr<Transport> here_ = *MakeShmTransport();
  std::unique_ptr<Transport> there_ = *MakeShmTransport();
  std::string name_;
  LinkId link_{};
  LinkId back_{};
  std::vector<TransportEvent> here_events_;
  std::vector<TransportEvent> there_events_;
  std::vector<TransportEvent> waiting_;
};

TEST_F(TransportShmTest, FramesLargerThanTheQueueArriveWhole) {
  for (const size_t bytes :
       {size_t{1}, size_t{65}, kSlotBytes, kSlotBytes + 1, 3 * kSlotCount * kSlotBytes}) {
    const std::vector<std::byte> frame = Frame(bytes, bytes);
    const bool done = here_->Send(link_, frame, nullptr, 7);
    ASSERT_TRUE(PollUntil(Kind::kFrame)) << bytes;
    EXPECT_TRUE(std::ranges::equal(there_events_.back().frame, frame)) << bytes;
    there_->Release(there_events_.back().memory);
    const bool told = std::ranges::any_of(here_events_, [](const TransportEvent& e) {
      return e.kind == Kind::kSent && e.token == 7;
    });
    EXPECT_NE(done, told) << "the memory is free once, " << bytes;
    here_events_.clear();
  }
}

TEST_F(TransportShmTest, FramesThatAreKeptStopNobody) {
  constexpr size_t kFrames = 2 * kSlotCount;
  std::vector<std::vector<std::byte>> frames;
  for (size_t i = 0; i < kFrames; ++i) {
    frames.push_back(Frame(kSlotBytes, i));
    here_->Send(link_, frames.back(), nullptr, i);
  }
  std::vector<TransportEvent> kept;
  for (size_t i = 0; i < kFrames; ++i) {
    ASSERT_TRUE(PollUntil(Kind::kFrame)) << i;
    kept.push_back(there_events_.back());
  }
  for (size_t i = 0; i < kFrames; ++i) {
    EXPECT_TRUE(std::ranges::equal(kept[i].frame, frames[i])) << i;
    there_->Release(kept[i].memory);
  }
}

TEST_F(TransportShmTest, WhatWasSentBeforeAFlushingCloseArrivesBeforeTheEnd) {
  const std::vector<std::byte> frame = Frame(2 * kSlotCount * kSlotBytes, 1);
  here_->Send(link_, frame, nullptr, 1);
  here_->Close(link_, /*flush=*/true);
  ASSERT_TRUE(PollUntil(Kind::kFrame));
  EXPECT_TRUE(std::ranges::equal(there_events_.back().frame, frame));
  there_->Release(there_events_.back().memory);
  ASSERT_TRUE(PollUntil(Kind::kDown));
  EXPECT_EQ(there_events_.back().link, back_);
}

TEST_F(TransportShmTest, TwoThatFlushAndCloseAtOnceWithFullQueuesGetRidOfEachOther) {
  const std::vector<std::byte> frame = Frame(2 * kSlotCount * kSlotBytes, 1);
  here_->Send(link_, frame, nullptr, 1);
  there_->Send(back_, frame, nullptr, 2);
  here_->Close(link_, /*flush=*/true);
  there_->Close(back_, /*flush=*/true);
  const auto gone = [&] {
    return here_->Describe(link_).empty() && there_->Describe(back_).empty();
  };
  const absl::Duration end = clock_.Elapsed() + absl::Seconds(10);
  while (!gone() && clock_.Elapsed() < end) {
    here_->Poll(here_events_);
    there_->Poll(there_events_);
  }
  EXPECT_TRUE(gone()) << "a link is still kept";
  for (const auto* events : {&here_events_, &there_events_}) {
    EXPECT_TRUE(std::ranges::any_of(*events, [](const auto& e) { return e.kind == Kind::kSent; }));
  }
}

TEST_F(TransportShmTest, ACloseThatFlushesCanBeCutShort) {
  const std::vector<std::byte> frame = Frame(2 * kSlotCount * kSlotBytes, 1);
  here_->Send(link_, frame, nullptr, 1);
  here_->Close(link_, /*flush=*/true);
  here_->Poll(here_events_);
  EXPECT_NE(here_->Describe(link_), "") << "it flushes";
  here_->Close(link_, /*flush=*/false);
  here_->Poll(here_events_);
  EXPECT_EQ(here_->Describe(link_), "");
}

TEST_F(TransportShmTest, WhoComesWhileThereIsNoDescriptorIsTurnedAwayAndTheListenerSleeps) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto stranger = ConnectUnix(name_);
  ASSERT_TRUE(stranger.ok()) << stranger.status();
  const OwnedFd lowest(dup(0));
  const rlimit none{static_cast<rlim_t>(lowest.get()), limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  there_->Sleep(absl::Seconds(10));
  there_->Poll(there_events_);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  char byte;
  EXPECT_EQ(recv(stranger->get(), &byte, 1, MSG_DONTWAIT), 0) << "nobody told the stranger";
  const auto next = here_->Open(name_);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(PollUntil(Kind::kAccepted));
}

TEST_F(TransportShmTest, AFrameOutlivesItsLink) {
  const std::vector<std::byte> frame = Frame(1000, 1);
  here_->Send(link_, frame, nullptr, 1);
  ASSERT_TRUE(PollUntil(Kind::kFrame));
  const TransportEvent kept = there_events_.back();
  here_->Close(link_, /*flush=*/false);
  ASSERT_TRUE(PollUntil(Kind::kDown));
  there_->Close(back_, /*flush=*/false);
  there_->Poll(there_events_);
  EXPECT_TRUE(std::ranges::equal(kept.frame, frame));
  there_->Release(kept.memory);
}

TEST_F(TransportShmTest, StrangersAreTurnedAwayAndDisturbNobody) {
  auto silent = ConnectUnix(name_);
  ASSERT_TRUE(silent.ok()) << silent.status();
  const auto liar = ConnectUnix(name_);
  ASSERT_TRUE(liar.ok()) << liar.status();
  ASSERT_EQ(send(liar->get(), "hello world", 11, MSG_NOSIGNAL), 11);
  const std::vector<std::byte> frame = Frame(100, 1);
  here_->Send(link_, frame, nullptr, 1);
  ASSERT_TRUE(PollUntil(Kind::kFrame));
  there_->Release(there_events_.back().memory);
  // A sleeper sees who came; the look after it turns the liar away.
  ASSERT_TRUE(there_->Arm());
  there_->Sleep(absl::Seconds(1));
  there_->Poll(there_events_);
  char byte;
  EXPECT_EQ(recv(liar->get(), &byte, 1, MSG_DONTWAIT), 0) << "the liar is still connected";
  *silent = OwnedFd();
  here_->Send(link_, frame, nullptr, 2);
  EXPECT_TRUE(PollUntil(Kind::kFrame));
  there_->Release(there_events_.back().memory);
}

TEST_F(TransportShmTest, NamesAreUsedOnceAndHaveABound) {
  const auto other = *MakeShmTransport();
  EXPECT_EQ(other->Listen(name_).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(other->Open(std::string(200, 'x')).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(there_->Listen("").status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace tessera
