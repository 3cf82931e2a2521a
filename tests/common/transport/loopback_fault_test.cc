// Faults of the loopback network and what the exchange makes of them.

#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "common/transport/transport_loopback.h"
#include "tests/common/transport/echo_server.h"
#include "tests/common/transport/exchange_samples.h"
#include "tests/support/fake_clock.h"

namespace tessera {
namespace {

using Kind = ExchangeEvent::Kind;

class LoopbackFaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto address = server_.Start("shard");
    ASSERT_TRUE(address.ok()) << address.status();
    peer_ = Connect();
  }
  PeerId Connect() {
    const auto peer = router_.exchange().Connect("shard", SampleHello(), absl::Seconds(10));
    EXPECT_TRUE(peer.ok()) << peer.status();
    return peer.value_or(PeerId{});
  }
  static ExchangeConfig Quick() {
    ExchangeConfig config;
    config.abandon_grace = absl::Milliseconds(1);
    return config;
  }

  RealClock clock_;
  std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, 42);
  EchoServer server_{clock_, network_->MakeTransport(), 3};
  TestRouter router_{clock_, network_->MakeTransport(), Quick()};
  PeerId peer_{};
  const Matrix rows_ = SampleRows(2, SampleGeometry().d_model, 1);
};

TEST_F(LoopbackFaultTest, ADroppedCallIsNotAnsweredAndItsCreditComesBack) {
  network_->Inject({.kind = FaultKind::kDrop, .count = 3});
  for (int i = 0; i < 3; ++i) {
    const auto call = router_.Post(peer_, rows_);
    ASSERT_TRUE(call.ok()) << call.status();
    EXPECT_FALSE(router_.Next(absl::Milliseconds(2)).has_value());
    router_.exchange().Abandon(*call);
  }
  EXPECT_EQ(network_->FaultHits(FaultKind::kDrop), 3u);
  while (router_.exchange().LoadOf(peer_).slots_free < 3) router_.Next(absl::Milliseconds(1));
  for (int i = 0; i < 6; ++i) router_.ExpectEcho(peer_, 2, static_cast<float>(i));
}

TEST_F(LoopbackFaultTest, ADuplicatedCallIsComputedOnce) {
  network_->Inject({.kind = FaultKind::kDuplicate, .delay = absl::Microseconds(100)});
  for (int i = 0; i < 5; ++i) router_.ExpectEcho(peer_, 2, static_cast<float>(i));
  while (server_.exchange().Stats().duplicate_drops < 5) router_.Next(absl::Milliseconds(1));
  EXPECT_EQ(router_.exchange().Stats().late_drops, 0u);
}

TEST_F(LoopbackFaultTest, ADuplicatedReplyIsDropped) {
  network_->Inject({.kind = FaultKind::kDuplicate, .type = wire::FrameType::kReply});
  for (int i = 0; i < 5; ++i) router_.ExpectEcho(peer_, 2, static_cast<float>(i));
  while (router_.exchange().Stats().late_drops < 5) router_.Next(absl::Milliseconds(1));
}

TEST_F(LoopbackFaultTest, ACorruptedCallIsRefusedAndCanBeSentAgain) {
  network_->Inject({.kind = FaultKind::kCorrupt, .count = 1});
  ASSERT_TRUE(router_.Post(peer_, rows_).ok());
  const auto nack = router_.Next();
  ASSERT_TRUE(nack && nack->kind == Kind::kNack);
  EXPECT_EQ(nack->reply.trailer.reason, wire::NackReason::kCorrupt);
  router_.ExpectEcho(peer_, 2, 5);
}

TEST_F(LoopbackFaultTest, ACorruptedReplyFailsItsCallOnly) {
  network_->Inject({.kind = FaultKind::kCorrupt, .type = wire::FrameType::kReply, .count = 1});
  const auto call = router_.Post(peer_, rows_);
  const auto event = router_.Next();
  ASSERT_TRUE(event && event->kind == Kind::kFailed);
  EXPECT_EQ(event->call, *call);
  EXPECT_EQ(event->status.code(), absl::StatusCode::kDataLoss);
  router_.ExpectEcho(peer_, 2, 5);
}

TEST_F(LoopbackFaultTest, ADelayedReplyIsOvertaken) {
  network_->Inject({.kind = FaultKind::kReorder,
                    .type = wire::FrameType::kReply,
                    .count = 1,
                    .delay = absl::Milliseconds(300)});
  const auto slow = router_.Post(peer_, rows_);
  const auto fast = router_.Post(peer_, rows_);
  const auto first = router_.Next();
  const auto second = router_.Next();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->call, *fast);
  EXPECT_EQ(second->call, *slow);
}

TEST_F(LoopbackFaultTest, AKilledShardIsReportedAndComesBack) {
  network_->Inject({.kind = FaultKind::kKill, .count = 1});
  const auto call = router_.Post(peer_, rows_);
  ASSERT_TRUE(call.ok());
  const auto failed = router_.Next();
  ASSERT_TRUE(failed && failed->kind == Kind::kFailed);
  EXPECT_EQ(failed->call, *call);
  EXPECT_EQ(failed->status.code(), absl::StatusCode::kUnavailable);
  const auto down = router_.Next();
  ASSERT_TRUE(down && down->kind == Kind::kPeerDown);
  EXPECT_EQ(router_.exchange().Connect("shard", SampleHello(), absl::Seconds(1)).status().code(),
            absl::StatusCode::kUnavailable);
  EchoServer reborn(clock_, network_->MakeTransport(), 3);
  ASSERT_TRUE(reborn.Start("shard").ok());
  router_.ExpectEcho(Connect(), 2, 1);
}

// Many faults at once: every call ends in the right rows, a refusal or a failure, never in wrong
// rows and never twice.
TEST_F(LoopbackFaultTest, NothingWrongComesOutOfAStorm) {
  for (const FaultKind kind : {FaultKind::kDrop, FaultKind::kDelay, FaultKind::kReorder,
                               FaultKind::kDuplicate, FaultKind::kCorrupt}) {
    for (const wire::FrameType type : {wire::FrameType::kCall, wire::FrameType::kReply}) {
      network_->Inject({.kind = kind,
                        .type = type,
                        .probability = 0.1,
                        .delay = absl::Microseconds(200),
                        .jitter = absl::Microseconds(300)});
    }
  }
  int right = 0;
  for (int i = 0; i < 300; ++i) {
    const Matrix sent = SampleRows(2, SampleGeometry().d_model, static_cast<float>(i));
    auto call = router_.Post(peer_, sent);
    while (call.status().code() == absl::StatusCode::kResourceExhausted) {
      router_.Next(absl::Milliseconds(1));
      call = router_.Post(peer_, sent);
    }
    ASSERT_TRUE(call.ok()) << call.status();
    const auto event = router_.Next(absl::Milliseconds(5));
    if (!event) {
      router_.exchange().Abandon(*call);
    } else if (event->kind == Kind::kReply) {
      ASSERT_EQ(event->call, *call);
      ASSERT_EQ(event->reply.rows.f32().row(1)[3], sent.row(1)[3]);
      ++right;
    } else {
      ASSERT_TRUE(event->kind == Kind::kNack || event->kind == Kind::kFailed);
      ASSERT_EQ(event->call, *call);
    }
  }
  EXPECT_GT(right, 150);
  EXPECT_LT(right, 300);
  network_->ClearFaults();
  while (router_.exchange().LoadOf(peer_).slots_free < 3) router_.Next(absl::Milliseconds(1));
  router_.ExpectEcho(peer_, 3, 0);
}

// The heartbeat by hand: a clock that stands still, nobody but this thread.
class HeartbeatTest : public ::testing::Test {
 protected:
  static ExchangeConfig ByHand() {
    ExchangeConfig config;
    config.progress.thread = false;
    return config;
  }
  void SetUp() override {
    ASSERT_TRUE(server_.Listen("shard").ok());
    Thread connecting("connect", [this](std::stop_token) {
      peer_ = *client_.Connect("shard", SampleHello(), absl::Seconds(1));
    });
    std::vector<IncomingCall> none;
    while (client_.Stats().frames_received == 0) server_.Wait(absl::ZeroDuration(), none);
    connecting.Join();
  }
  // Lets `time` pass in steps of a millisecond.
  void Pass(absl::Duration time) {
    for (absl::Duration t; t < time; t += absl::Milliseconds(1)) {
      clock_.Advance(absl::Milliseconds(1));
      client_.Wait(absl::ZeroDuration(), events_);
      server_.Wait(absl::ZeroDuration(), calls_);
    }
  }
  absl::StatusOr<CallId> PostOne() {
    const auto slot = client_.Acquire(peer_);
    if (!slot.ok()) return slot.status();
    const Matrix rows(1, SampleGeometry().d_model);
    const auto header =
        wire::WriteCall(SampleGeometry(), {}, SamplePlan(1), rows.view(), slot->frame);
    return client_.Post(*slot, *header);
  }

  FakeClock clock_;
  std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, 1);
  ExchangeServer server_{ByHand(), clock_, network_->MakeTransport(), AcceptSevens(3)};
  ExchangeClient client_{ByHand(), clock_, network_->MakeTransport()};
  PeerId peer_{};
  std::vector<ExchangeEvent> events_;
  std::vector<IncomingCall> calls_;
};

TEST_F(HeartbeatTest, AQuietPeerThatAnswersPingsLives) {
  Pass(absl::Seconds(10));
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(server_.peer_count(), 1u);
  const uint64_t pings = client_.Stats().pings_sent;
  EXPECT_GE(pings, 9u);
  EXPECT_LE(pings, 12u) << "idle links are asked once a second";
}

TEST_F(HeartbeatTest, ASlowCallIsNoHang) {
  ASSERT_TRUE(PostOne().ok());
  Pass(absl::Seconds(2));
  EXPECT_TRUE(events_.empty()) << "the shard computes and answers pings";
  EXPECT_GE(client_.Stats().pings_sent, 50u);
  EXPECT_EQ(calls_.size(), 1u);
}

TEST_F(HeartbeatTest, AHangingPeerWithACallIsGivenUpSoon) {
  const auto call = PostOne();
  ASSERT_TRUE(call.ok());
  network_->Hang("shard");
  Pass(absl::Milliseconds(160));
  EXPECT_TRUE(events_.empty());
  Pass(absl::Milliseconds(20));
  ASSERT_EQ(events_.size(), 2u);
  EXPECT_EQ(events_[0].kind, Kind::kFailed);
  EXPECT_EQ(events_[0].call, *call);
  EXPECT_EQ(events_[1].kind, Kind::kPeerDown);
  EXPECT_EQ(events_[1].status.message(), "no sign of life for 150ms");
}

TEST_F(HeartbeatTest, AnIdleHangingPeerIsGivenUpToo) {
  network_->Hang("shard");
  Pass(absl::Seconds(2));
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].kind, Kind::kPeerDown);
}

TEST_F(HeartbeatTest, APauseOfThisProcessIsNotTakenForTheirs) {
  ASSERT_TRUE(PostOne().ok());
  Pass(absl::Milliseconds(21));  // a ping is out
  clock_.Advance(absl::Seconds(3));
  client_.Wait(absl::ZeroDuration(), events_);
  Pass(absl::Milliseconds(50));
  EXPECT_TRUE(events_.empty());
}

TEST_F(HeartbeatTest, AServerForgetsASilentRouter) {
  for (int second = 0; second < 5; ++second) {
    EXPECT_EQ(server_.peer_count(), 1u);
    clock_.Advance(absl::Seconds(1));
    server_.Wait(absl::ZeroDuration(), calls_);
  }
  EXPECT_EQ(server_.peer_count(), 0u);
}

TEST_F(HeartbeatTest, AServerForgetsWhoDoesNotGreet) {
  const auto raw = network_->MakeTransport();
  ASSERT_TRUE(raw->Open("shard").ok());
  Pass(absl::Seconds(1));
  EXPECT_EQ(server_.peer_count(), 2u);
  Pass(absl::Seconds(2));
  EXPECT_EQ(server_.peer_count(), 1u);
}

}  // namespace
}  // namespace tessera
