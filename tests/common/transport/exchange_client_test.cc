// What a client makes of events that real peers bring together only now and then.

#include "common/transport/exchange_client.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "common/transport/transport_shm.h"
#include "tests/common/transport/echo_server.h"
#include "tests/common/transport/exchange_samples.h"

namespace tessera {
namespace {

// Answers a greeting, and tells of the answer and of the peer's death in one poll.
class DyingPeer final : public Transport {
 public:
  absl::StatusOr<std::string> Listen(const std::string&) override { return "here"; }
  absl::StatusOr<LinkId> Open(const std::string&) override { return LinkId{1}; }
  void Close(LinkId, bool) override {}
  bool Send(LinkId link, std::span<const std::byte>, std::shared_ptr<const void>,
            uint64_t) override {
    wire::Hello answer = SampleHello();
    const auto bytes = wire::WriteHello(answer, /*answer=*/true, frame_.bytes);
    events_.push_back({.kind = TransportEvent::Kind::kFrame, .link = link, .frame = bytes});
    events_.push_back({.kind = TransportEvent::Kind::kDown,
                       .link = link,
                       .status = absl::UnavailableError("the peer is gone")});
    return true;
  }
  void Release(void*) override {}
  void Poll(std::vector<TransportEvent>& events) override {
    for (TransportEvent& event : std::exchange(events_, {})) events.push_back(std::move(event));
  }
  bool Arm() override { return events_.empty(); }
  void Sleep(absl::Duration) override {}
  void Wake() override {}

 private:
  ControlFrame frame_;
  std::vector<TransportEvent> events_;
};

TEST(ExchangeClientTest, WhatAnAnswerSaidOfTheQueueIsForgotten) {
  const RealClock clock;
  for (const absl::Duration memory : {absl::Hours(1), absl::ZeroDuration()}) {
    EchoServer server(clock, *MakeShmTransport(), /*credits=*/2);
    ExchangeConfig config;
    config.queue_memory = memory;
    TestRouter router(clock, *MakeShmTransport(), config);
    const auto peer =
        router.exchange().Connect(*server.Start(""), SampleHello(), absl::Seconds(20));
    ASSERT_TRUE(peer.ok()) << peer.status();
    router.ExpectEcho(*peer, 1, 1);
    EXPECT_EQ(router.exchange().LoadOf(*peer).rows_queued,
              memory > absl::ZeroDuration() ? EchoServer::kRowsQueued : 0u);
  }
}

TEST(ExchangeClientTest, AShardThatAnswersTheGreetingAndDiesIsNoPeer) {
  const RealClock clock;
  ExchangeConfig config;
  config.progress.thread = false;
  ExchangeClient client(config, clock, std::make_unique<DyingPeer>());
  const auto peer = client.Connect("there", SampleHello(), absl::Seconds(10));
  ASSERT_FALSE(peer.ok());
  EXPECT_EQ(peer.status().code(), absl::StatusCode::kUnavailable) << peer.status();
  std::vector<ExchangeEvent> events;
  EXPECT_EQ(client.Wait(absl::ZeroDuration(), events), 0u) << "nobody knows that peer";
  EXPECT_EQ(client.Stats().peers_lost, 0u);
}

}  // namespace
}  // namespace tessera
