#include "tests/common/transport/exchange_contract.h"

#include <gmock/gmock.h>

namespace tessera {
namespace {

using Kind = ExchangeEvent::Kind;

TEST_P(ExchangeContractTest, RowsComeBackWhateverTheirNumber) {
  auto server = MakeServer();
  const std::string address = Start(*server);
  TestRouter router(clock_, MakeTransport());
  for (const bool checksum : {true, false}) {
    wire::Hello hello = SampleHello();
    hello.checksum_payload = checksum;
    const PeerId peer = Connect(router, address, hello);
    for (size_t rows = 1; rows <= 200; rows += 1 + rows / 4) {
      router.ExpectEcho(peer, rows, static_cast<float>(rows));
      if (HasFatalFailure()) return;
    }
    router.exchange().Disconnect(peer);
  }
  EXPECT_EQ(router.exchange().Stats().late_drops, 0u);
  EXPECT_EQ(server->exchange().Stats().nacks_sent, 0u);
}

TEST_P(ExchangeContractTest, TheGreetingTellsWhoAnswers) {
  auto server = MakeServer(/*credits=*/2);
  TestRouter router(clock_, MakeTransport());
  const PeerId peer = Connect(router, Start(*server));
  const auto greeting = router.exchange().GreetingOf(peer);
  ASSERT_TRUE(greeting.ok());
  EXPECT_EQ(greeting->incarnation, 4711u);
  EXPECT_EQ(greeting->credits, 2u);
  EXPECT_FALSE(router.exchange().Describe(peer).empty());
  EXPECT_EQ(router.exchange().GreetingOf(PeerId{999}).status().code(), absl::StatusCode::kNotFound);
}

TEST_P(ExchangeContractTest, CreditsBoundWhatIsInFlight) {
  auto server = MakeServer(/*credits=*/2);
  TestRouter router(clock_, MakeTransport());
  const PeerId peer = Connect(router, Start(*server));
  server->Hold(true);
  const Matrix rows = SampleRows(4, SampleGeometry().d_model, 1);
  ASSERT_TRUE(router.Post(peer, rows).ok());
  ASSERT_TRUE(router.Post(peer, rows).ok());
  EXPECT_EQ(router.Post(peer, rows).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(router.exchange().LoadOf(peer).calls, 2u);
  EXPECT_EQ(router.exchange().LoadOf(peer).rows, 8u);
  EXPECT_EQ(router.exchange().LoadOf(peer).slots_free, 0u);
  server->Hold(false);
  {
    const auto first = router.Next();
    const auto second = router.Next();
    ASSERT_TRUE(first && second);
    EXPECT_EQ(router.exchange().LoadOf(peer).slots_free, 0u) << "their rows are still being read";
  }
  EXPECT_EQ(router.exchange().LoadOf(peer).slots_free, 2u);
  router.ExpectEcho(peer, 3, 2);
}

TEST_P(ExchangeContractTest, ASlotCanBeGivenBackUnused) {
  auto server = MakeServer(/*credits=*/1);
  TestRouter router(clock_, MakeTransport());
  const PeerId peer = Connect(router, Start(*server));
  for (int i = 0; i < 3; ++i) {
    const auto slot = router.exchange().Acquire(peer);
    ASSERT_TRUE(slot.ok()) << slot.status();
    EXPECT_EQ(slot->frame.size(), wire::CallBytesMax(SampleGeometry()));
    router.exchange().Return(*slot);
  }
  router.ExpectEcho(peer, 1, 0);
}

TEST_P(ExchangeContractTest, StrictRepliesHaveARowForEachPair) {
  auto server = MakeServer();
  TestRouter router(clock_, MakeTransport());
  wire::Hello hello = SampleHello();
  hello.geometry = SampleGeometry(/*strict=*/true);
  const PeerId peer = Connect(router, Start(*server), hello);
  const Matrix rows = SampleRows(5, hello.geometry.d_model, 3);
  ASSERT_TRUE(router.Post(peer, rows, hello.geometry).ok());
  const auto event = router.Next();
  ASSERT_TRUE(event && event->kind == Kind::kReply);
  ASSERT_EQ(event->reply.rows.rows, 10u);
  EXPECT_EQ(event->reply.rows.f32().row(7)[5], rows.row(2)[5]);
}

TEST_P(ExchangeContractTest, AWrongTokenIsRefused) {
  auto server = MakeServer();
  const std::string address = Start(*server);
  TestRouter router(clock_, MakeTransport());
  wire::Hello hello = SampleHello();
  hello.token.fill(8);
  const auto refused = router.exchange().Connect(address, hello, absl::Seconds(10));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied) << refused.status();
  EXPECT_EQ(server->exchange().Stats().peers_cut_off, 1u);
  router.ExpectEcho(Connect(router, address), 1, 0);
}

TEST_P(ExchangeContractTest, NobodyThereIsUnavailable) {
  TestRouter router(clock_, MakeTransport());
  const auto peer =
      router.exchange().Connect(GetParam().nobody_address, SampleHello(), absl::Seconds(10));
  EXPECT_EQ(peer.status().code(), absl::StatusCode::kUnavailable) << peer.status();
  wire::Hello hello = SampleHello();
  hello.geometry.d_model = 0;
  EXPECT_EQ(router.exchange().Connect("x", hello, absl::Seconds(1)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(ExchangeContractTest, AServerThatGoesFailsItsCallsAndIsReported) {
  auto server = MakeServer();
  TestRouter router(clock_, MakeTransport());
  const PeerId peer = Connect(router, Start(*server));
  server->Hold(true);
  const auto call = router.Post(peer, SampleRows(2, SampleGeometry().d_model, 1));
  ASSERT_TRUE(call.ok());
  // Let the call arrive, then go without answering it.
  while (server->exchange().calls_open() == 0) router.Next(absl::Milliseconds(1));
  server->exchange().CutOff(PeerId{}, absl::OkStatus());  // an unknown peer: nothing happens
  server.reset();
  auto event = router.Next();
  ASSERT_TRUE(event.has_value());
  if (event->kind == Kind::kReply) event = router.Next();  // it was let go while stopping
  if (event->kind == Kind::kFailed) {
    EXPECT_EQ(event->status.code(), absl::StatusCode::kUnavailable);
    event = router.Next();
  }
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->kind, Kind::kPeerDown);
  EXPECT_EQ(router.exchange().Acquire(peer).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(router.exchange().Stats().peers_lost, 1u);
}

TEST_P(ExchangeContractTest, ARestartedServerIsReached) {
  auto server = MakeServer();
  TestRouter router(clock_, MakeTransport());
  router.ExpectEcho(Connect(router, Start(*server)), 2, 1);
  server.reset();
  const auto event = router.Next();
  ASSERT_TRUE(event && event->kind == Kind::kPeerDown);
  server = MakeServer();
  router.ExpectEcho(Connect(router, Start(*server)), 2, 2);
}

TEST_P(ExchangeContractTest, ADrainingServerTakesNothingNew) {
  auto server = MakeServer();
  const std::string address = Start(*server);
  TestRouter router(clock_, MakeTransport());
  const PeerId peer = Connect(router, address);
  const auto slot = router.exchange().Acquire(peer);
  ASSERT_TRUE(slot.ok());
  server->exchange().Drain();
  const auto told = router.Next();
  ASSERT_TRUE(told && told->kind == Kind::kPeerDraining);
  EXPECT_EQ(router.exchange().Acquire(peer).status().code(), absl::StatusCode::kUnavailable);
  const Matrix rows = SampleRows(1, SampleGeometry().d_model, 0);
  const auto header =
      wire::WriteCall(SampleGeometry(), {}, SamplePlan(1), rows.view(), slot->frame);
  ASSERT_TRUE(router.exchange().Post(*slot, *header).ok());
  const auto nack = router.Next();
  ASSERT_TRUE(nack && nack->kind == Kind::kNack);
  EXPECT_EQ(nack->reply.trailer.reason, wire::NackReason::kDraining);
  const PeerId late = Connect(router, address);
  const auto told_late = router.Next();
  ASSERT_TRUE(told_late && told_late->kind == Kind::kPeerDraining);
  EXPECT_EQ(told_late->peer, late);
}

TEST_P(ExchangeContractTest, RoutersDoNotDisturbEachOther) {
  auto server = MakeServer();
  const std::string address = Start(*server);
  TestRouter a(clock_, MakeTransport());
  TestRouter b(clock_, MakeTransport());
  const PeerId peer_a = Connect(a, address, SampleHello(1));
  const PeerId peer_b = Connect(b, address, SampleHello(2));
  for (int round = 0; round < 20; ++round) {
    a.ExpectEcho(peer_a, 3, static_cast<float>(round));
    b.ExpectEcho(peer_b, 8, static_cast<float>(-round));
    if (HasFatalFailure()) return;
  }
}

TEST_P(ExchangeContractTest, AnAbandonedCallIsNotReported) {
  auto server = MakeServer(/*credits=*/2);
  TestRouter router(clock_, MakeTransport());
  const PeerId peer = Connect(router, Start(*server));
  server->Hold(true);
  const auto call = router.Post(peer, SampleRows(2, SampleGeometry().d_model, 1));
  ASSERT_TRUE(call.ok());
  router.exchange().Abandon(*call);
  server->Hold(false);
  for (int round = 0; round < 4; ++round) router.ExpectEcho(peer, 1, static_cast<float>(round));
  EXPECT_EQ(router.exchange().Stats().late_drops, 1u);
}

TEST_P(ExchangeContractTest, AWaitCanBeInterrupted) {
  auto server = MakeServer();
  TestRouter router(clock_, MakeTransport());
  Connect(router, Start(*server));
  Thread other("interrupt", [&](std::stop_token) { router.exchange().Interrupt(); });
  std::vector<ExchangeEvent> events;
  EXPECT_EQ(router.exchange().Wait(absl::InfiniteDuration(), events), 0u);
}

// What arrives from a broken or hostile peer ends that connection and nothing else.
TEST_P(ExchangeContractTest, GarbageCutsOffItsSenderOnly) {
  auto server = MakeServer();
  const std::string address = Start(*server);
  TestRouter router(clock_, MakeTransport());
  const PeerId peer = Connect(router, address);
  const std::unique_ptr<Transport> raw = MakeTransport();
  const auto frame_of = [](size_t bytes) {
    auto memory = std::make_shared<std::vector<uint64_t>>((bytes + 7) / 8);
    return std::pair(memory, std::span(reinterpret_cast<std::byte*>(memory->data()), bytes));
  };
  // Noise; a greeting cut short; after a good greeting a call in a slot that was never granted.
  for (int way = 0; way < 3; ++way) {
    const auto link = raw->Open(address);
    ASSERT_TRUE(link.ok()) << link.status();
    auto [memory, bytes] = frame_of(wire::kHelloFrameBytes);
    wire::WriteHello(SampleHello(5), false, bytes);
    if (way == 0) std::fill(bytes.begin(), bytes.end(), std::byte{0x5a});
    raw->Send(*link, way == 1 ? bytes.first(70) : bytes, memory, 0);
    if (way == 2) {
      auto [call_memory, call] = frame_of(wire::CallBytesMax(SampleGeometry()));
      const Matrix rows = SampleRows(1, SampleGeometry().d_model, 0);
      auto header = wire::WriteCall(SampleGeometry(), {}, SamplePlan(1), rows.view(), call);
      header->session = 5;
      header->slot = 77;
      raw->Send(*link, wire::SealFrame(*header, true, call), call_memory, 0);
    }
    bool down = false;
    for (int round = 0; round < 10000 && !down; ++round) {
      std::vector<TransportEvent> events;
      raw->Poll(events);
      for (TransportEvent& event : events) {
        if (event.kind == TransportEvent::Kind::kFrame) raw->Release(event.memory);
        down = down || event.kind == TransportEvent::Kind::kDown;
      }
      if (!down && raw->Arm()) raw->Sleep(absl::Milliseconds(10));
    }
    EXPECT_TRUE(down) << "way " << way;
    raw->Close(*link, false);
    router.ExpectEcho(peer, 2, static_cast<float>(way));
  }
  EXPECT_EQ(server->exchange().Stats().peers_cut_off, 3u);
}

}  // namespace
}  // namespace tessera
