// What is particular to the gRPC stream: the door of a service, peers that die or do not read.

#include "common/transport/transport_grpc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "common/base/clock.h"
#include "common/rpc/server.h"
#include "common/transport/data_address.h"
#include "tessera/v1/expert.grpc.pb.h"
#include "tests/common/transport/child_process.h"
#include "tests/common/transport/echo_server.h"
#include "tests/common/transport/exchange_contract.h"
#include "tests/common/transport/exchange_samples.h"

namespace tessera {
namespace {

using Kind = TransportEvent::Kind;
using ::testing::HasSubstr;

class DoorService final : public v1::ExpertShard::CallbackService {
 public:
  grpc::ServerBidiReactor<v1::Frame, v1::Frame>* Exchange(
      grpc::CallbackServerContext* context) override {
    return door_->Accept(context);
  }
  const std::shared_ptr<GrpcDoor>& door() const { return door_; }

 private:
  const std::shared_ptr<GrpcDoor> door_ = std::make_shared<GrpcDoor>();
};

// What a transport reports, one by one.
class Events {
 public:
  explicit Events(Transport& transport) : transport_(transport) {}

  // The next event of this kind; others are passed over, their frames given back.
  TransportEvent Next(Kind kind) {
    const RealClock clock;
    const absl::Duration end = clock.Elapsed() + absl::Seconds(20);
    while (clock.Elapsed() < end) {
      for (; next_ < events_.size(); ++next_) {
        if (events_[next_].kind == kind) return std::move(events_[next_++]);
        if (events_[next_].kind == Kind::kFrame) transport_.Release(events_[next_].memory);
      }
      transport_.Poll(events_);
      if (next_ == events_.size() && transport_.Arm()) transport_.Sleep(absl::Seconds(1));
    }
    ADD_FAILURE() << "no event in time";
    return {};
  }

 private:
  Transport& transport_;
  std::vector<TransportEvent> events_;
  size_t next_ = 0;
};

TEST(TransportGrpcTest, AServiceLetsStreamsInThroughItsDoor) {
  const RealClock clock;
  DoorService service;
  auto server = RpcServer::Start({}, {{v1::ExpertShard::service_full_name(), &service}});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string address = (*server)->address();

  TestRouter router(clock, MakeGrpcTransport({}));
  const auto early = router.exchange().Connect(address, SampleHello(), absl::Seconds(10));
  EXPECT_EQ(early.status().code(), absl::StatusCode::kUnavailable) << early.status();
  EXPECT_THAT(std::string(early.status().message()), HasSubstr("not open"));
  {
    EchoServer shard(clock, MakeGrpcTransport({}, service.door()), /*credits=*/3);
    EXPECT_EQ(shard.Start(address).value_or(""), address);
    EXPECT_EQ(MakeGrpcTransport({}, service.door())->Listen(address).status().code(),
              absl::StatusCode::kFailedPrecondition);
    const auto peer = router.exchange().Connect(address, SampleHello(), absl::Seconds(10));
    ASSERT_TRUE(peer.ok()) << peer.status();
    router.ExpectEcho(*peer, 20, 1);
  }
  const auto late = router.exchange().Connect(address, SampleHello(), absl::Seconds(10));
  EXPECT_EQ(late.status().code(), absl::StatusCode::kUnavailable) << late.status();
}

TEST(TransportGrpcTest, AnAddressInUseAndAnImpossibleOneAreNamed) {
  const auto first = MakeGrpcTransport({});
  const auto address = first->Listen("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(first->Listen("127.0.0.1:0").status().code(), absl::StatusCode::kFailedPrecondition);
  const auto second = MakeGrpcTransport({});
  const auto taken = second->Listen(*address);
  EXPECT_EQ(taken.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr(*address));
  EXPECT_EQ(second->Listen("nowhere").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(second->Open("nowhere").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(second->Listen("127.0.0.1:0").ok()) << "a failed Listen leaves nothing behind";
}

TEST(TransportGrpcTest, AKilledShardIsDownAtOnce) {
  const RealClock clock;
  ChildProcess child({TRANSPORT_ECHO_SERVER, "grpc"});
  const std::string address = child.ReadLine();
  TestRouter router(clock, MakeGrpcTransport({}));
  const auto peer = router.exchange().Connect(address, SampleHello(), absl::Seconds(10));
  ASSERT_TRUE(peer.ok()) << peer.status();
  router.ExpectEcho(*peer, 4, 1);
  child.Freeze();  // so that the call is surely outstanding
  ASSERT_TRUE(router.Post(*peer, SampleRows(1, SampleGeometry().d_model, 1)).ok());
  const absl::Duration killed = clock.Elapsed();
  child.Signal(SIGKILL);
  const auto failed = router.Next();
  ASSERT_TRUE(failed && failed->kind == ExchangeEvent::Kind::kFailed);
  const auto down = router.Next();
  ASSERT_TRUE(down && down->kind == ExchangeEvent::Kind::kPeerDown);
  EXPECT_LT(clock.Elapsed() - killed, absl::Milliseconds(100));
}

TEST(TransportGrpcTest, WhatWasSentBeforeAFlushingCloseArrives) {
  const auto server = MakeGrpcTransport({});
  const auto address = server->Listen("127.0.0.1:0");
  ASSERT_TRUE(address.ok());
  const auto client = MakeGrpcTransport({});
  const auto link = client->Open(*address);
  ASSERT_TRUE(link.ok());
  const std::vector<std::byte> frame(5 << 20, std::byte{42});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(client->Send(*link, frame, nullptr, 0));
  client->Close(*link, /*flush=*/true);
  Events events(*server);
  for (int i = 0; i < 3; ++i) {
    const TransportEvent event = events.Next(Kind::kFrame);
    ASSERT_EQ(event.frame.size(), frame.size());
    EXPECT_EQ(event.frame.back(), std::byte{42});
    server->Release(event.memory);
  }
  EXPECT_EQ(events.Next(Kind::kDown).status.code(), absl::StatusCode::kUnavailable);
}

// The shard polls nothing: gRPC stops the sender, whose queue has an end.
TEST(TransportGrpcTest, APeerThatDoesNotReadIsCutOff) {
  GrpcTransportConfig config;
  config.unread_bytes_max = 1 << 20;
  config.unsent_bytes_max = 8 << 20;
  const auto server = MakeGrpcTransport(config);
  const auto address = server->Listen("127.0.0.1:0");
  ASSERT_TRUE(address.ok());
  const auto client = MakeGrpcTransport(config);
  const auto link = client->Open(*address);
  ASSERT_TRUE(link.ok());
  const std::vector<std::byte> frame(1 << 20, std::byte{1});
  for (int i = 0; i < 64; ++i) client->Send(*link, frame, nullptr, 0);
  EXPECT_THAT(std::string(Events(*client).Next(Kind::kDown).status.message()), HasSubstr("unread"));
}

INSTANTIATE_TEST_SUITE_P(
    Grpc, ExchangeContractTest,
    ::testing::Values(Ways{"grpc", "127.0.0.1:0", "127.0.0.1:1",
                           [](LoopbackNetwork&) { return MakeGrpcTransport({}); }},
                      Ways{"grpc_v6", "[::1]:0", "[::1]:1",
                           [](LoopbackNetwork&) { return MakeGrpcTransport({}); }}),
    NameOfWay);

TEST(DataAddressTest, SaysTheWay) {
  for (const std::string text :
       {"ucx:127.0.0.1:1", "shm:tessera-0", "grpc:[::1]:0", "loopback:shard-0", "grpc:"}) {
    const auto address = ParseDataAddress(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(FormatDataAddress(*address), text);
  }
  for (const std::string text : {"", "127.0.0.1:1", "tcp:127.0.0.1:1"}) {
    const auto address = ParseDataAddress(text);
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(address.status().message()), HasSubstr("ucx:host:port"));
  }
  EXPECT_EQ(MakeTransport(DataWay::kLoopback, {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace tessera
