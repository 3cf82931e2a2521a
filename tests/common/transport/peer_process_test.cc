// Two processes of one box, through each kind of shared memory: a shard that is killed or stopped.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "common/base/clock.h"
#include "common/transport/socket_address.h"
#include "tests/common/transport/box_transport.h"
#include "tests/common/transport/child_process.h"
#include "tests/common/transport/exchange_samples.h"
#include "tests/support/shared_memory_files.h"

namespace tessera {
namespace {

using Kind = ExchangeEvent::Kind;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PeerProcessTest : public ::testing::TestWithParam<const char*> {
 protected:
  void Start() {
    child_ =
        std::make_unique<ChildProcess>(std::vector<std::string>{TRANSPORT_ECHO_SERVER, GetParam()});
    address_ = child_->ReadLine();
    ASSERT_FALSE(address_.empty());
    const auto peer = router_.exchange().Connect(address_, SampleHello(), absl::Seconds(20));
    ASSERT_TRUE(peer.ok()) << peer.status();
    peer_ = *peer;
  }
  // Reads events until the peer is gone; returns how many calls failed before.
  int FailuresUntilDown() {
    int failures = 0;
    while (const auto event = router_.Next()) {
      if (event->kind == Kind::kPeerDown) return failures;
      failures += event->kind == Kind::kFailed;
    }
    ADD_FAILURE() << "the loss was not noticed";
    return failures;
  }

  RealClock clock_;
  TestRouter router_{clock_, MakeBoxTransport(GetParam())};
  std::unique_ptr<ChildProcess> child_;
  std::string address_;
  PeerId peer_{};
};

TEST_P(PeerProcessTest, DataGoesThroughSharedMemory) {
  Start();
  router_.ExpectEcho(peer_, 40, 1);
  const std::string lanes = router_.exchange().Describe(peer_);
  if (GetParam() == std::string_view("shm")) {
    EXPECT_EQ(lanes, "shared memory");
    return;
  }
  EXPECT_THAT(lanes, HasSubstr("posix")) << "without it everything goes over TCP, unnoticed";
  EXPECT_THAT(lanes, HasSubstr("tcp")) << "without it death goes unnoticed";
}

TEST_P(PeerProcessTest, AKilledShardIsNoticedWithin100ms) {
  Start();
  router_.ExpectEcho(peer_, 1, 1);
  const Matrix rows = SampleRows(1, SampleGeometry().d_model, 1);
  child_->Freeze();  // so that the call is surely outstanding
  ASSERT_TRUE(router_.Post(peer_, rows).ok());
  const absl::Duration killed = clock_.Elapsed();
  child_->Signal(SIGKILL);
  EXPECT_EQ(FailuresUntilDown(), 1);
  EXPECT_LT(clock_.Elapsed() - killed, absl::Milliseconds(100));
}

TEST_P(PeerProcessTest, AnIdleShardThatIsKilledIsNoticedToo) {
  Start();
  const absl::Duration killed = clock_.Elapsed();
  child_->Signal(SIGKILL);
  EXPECT_EQ(FailuresUntilDown(), 0);
  EXPECT_LT(clock_.Elapsed() - killed, absl::Milliseconds(100));
}

TEST_P(PeerProcessTest, AStoppedShardIsNoticedByTheHeartbeat) {
  Start();
  router_.ExpectEcho(peer_, 1, 1);
  child_->Freeze();
  const absl::Duration stopped = clock_.Elapsed();
  ASSERT_TRUE(router_.Post(peer_, SampleRows(1, SampleGeometry().d_model, 1)).ok());
  EXPECT_EQ(FailuresUntilDown(), 1);
  const absl::Duration noticed = clock_.Elapsed() - stopped;
  EXPECT_GE(noticed, absl::Milliseconds(150));
  EXPECT_LT(noticed, absl::Seconds(1));
  child_->Signal(SIGCONT);
}

TEST_P(PeerProcessTest, ARestartedShardIsReachedAndNothingIsLeftBehind) {
  const std::set<std::string> before = testing::UcxSegments();
  for (int life = 0; life < 3; ++life) {
    Start();
    router_.ExpectEcho(peer_, 20, static_cast<float>(life));
    child_->Signal(SIGKILL);
    FailuresUntilDown();
    child_.reset();
  }
  EXPECT_THAT(testing::UcxSegmentsLeft(before), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Ways, PeerProcessTest, ::testing::Values("shm", "ucx"),
                         [](const auto& info) { return std::string(info.param); });

TEST(SocketAddressTest, ReadsAndWritesBothFamilies) {
  for (const std::string text : {"127.0.0.1:8021", "[::1]:8021"}) {
    const auto address = ParseSocketAddress(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(FormatSocketAddress(address->storage), text);
  }
  EXPECT_TRUE(ParseSocketAddress(":0").ok());
  for (const std::string text : {"", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x", "::1:80"}) {
    EXPECT_EQ(ParseSocketAddress(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_EQ(ParseSocketAddress("no.such.host.invalid:1").status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tessera
