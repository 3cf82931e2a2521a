#include "common/tracing/span_sink.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/fake_clock.h"
#include "tests/support/trace_collector.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

using testing::TraceCollector;
using testing::WaitUntil;

SpanRecord Span(const std::string& name) {
  SpanRecord span;
  span.context = *ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  span.name = name;
  span.start = absl::FromUnixSeconds(1);
  span.end = absl::FromUnixSeconds(2);
  return span;
}

class SpanSinkTest : public ::testing::Test {
 protected:
  std::unique_ptr<SpanSink> Start(const std::string& endpoint) {
    config_.endpoint = endpoint;
    config_.resource.service = "tessera-test";
    auto sink = SpanSink::Start(config_, clock_, registry_);
    EXPECT_TRUE(sink.ok()) << sink.status();
    return *std::move(sink);
  }

  SpanSinkConfig config_{.batch_wait = absl::Milliseconds(1)};
  FakeClock clock_;
  Registry registry_;
};

TEST_F(SpanSinkTest, WhatIsPutArrivesAtTheCollectorInOrder) {
  const TraceCollector collector;
  auto sink = Start(collector.endpoint());
  for (int i = 0; i < 700; ++i) ASSERT_TRUE(sink->Put(Span(absl::StrCat("s", i))));
  ASSERT_TRUE(collector.AwaitSpans(700));
  const auto spans = collector.spans();
  ASSERT_EQ(spans.size(), 700u);
  for (int i = 0; i < 700; ++i) EXPECT_EQ(spans[i].name, absl::StrCat("s", i));
  EXPECT_EQ(spans[0].service, "tessera-test");
  EXPECT_GE(collector.post_count(), 2u);  // of 512 at most
  ASSERT_TRUE(WaitUntil([&] { return sink->exported_count() == 700; }));
  EXPECT_EQ(sink->dropped_count(), 0u);
  EXPECT_THAT(registry_.Text(), ::testing::HasSubstr("tessera_spans_exported_total 700"));
}

TEST_F(SpanSinkTest, TheEndPostsWhatWaits) {
  const TraceCollector collector;
  config_.batch_wait = absl::Hours(1);
  auto sink = Start(collector.endpoint());
  ASSERT_TRUE(sink->Put(Span("last")));
  sink.reset();
  EXPECT_EQ(collector.spans().size(), 1u);
}

TEST_F(SpanSinkTest, AwayIsDroppedAndCountedAndComesBackAfterThePause) {
  std::string address;
  { address = TraceCollector().address(); }
  auto sink = Start("http://" + address);
  ASSERT_TRUE(sink->Put(Span("a")));
  ASSERT_TRUE(WaitUntil([&] { return sink->dropped_count() == 1; }));
  const TraceCollector collector(200, address);
  ASSERT_TRUE(sink->Put(Span("b")));  // in the pause: not even tried
  ASSERT_TRUE(WaitUntil([&] { return sink->dropped_count() == 2; }));
  EXPECT_EQ(collector.post_count(), 0u);
  clock_.Advance(config_.pause_min);
  ASSERT_TRUE(sink->Put(Span("c")));
  ASSERT_TRUE(collector.AwaitSpans(1));
  EXPECT_EQ(collector.spans()[0].name, "c");
  EXPECT_EQ(sink->dropped_count(), 2u);
}

TEST_F(SpanSinkTest, ThePauseDoublesWithEachFailure) {
  const TraceCollector collector(503);
  auto sink = Start(collector.endpoint());
  ASSERT_TRUE(sink->Put(Span("a")));
  ASSERT_TRUE(WaitUntil([&] { return sink->dropped_count() == 1; }));
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(sink->Put(Span("b")));
  ASSERT_TRUE(WaitUntil([&] { return sink->dropped_count() == 2; }));
  EXPECT_EQ(collector.post_count(), 2u);
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(sink->Put(Span("c")));
  ASSERT_TRUE(WaitUntil([&] { return sink->dropped_count() == 3; }));
  EXPECT_EQ(collector.post_count(), 2u);  // two seconds this time
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(sink->Put(Span("d")));
  ASSERT_TRUE(WaitUntil([&] { return sink->dropped_count() == 4; }));
  EXPECT_EQ(collector.post_count(), 3u);
  EXPECT_EQ(sink->exported_count(), 0u);
}

TEST_F(SpanSinkTest, NoMoreThanTheRateIsTakenInASecond) {
  const TraceCollector collector;
  config_.per_second_max = 10;
  auto sink = Start(collector.endpoint());
  int taken = 0;
  for (int i = 0; i < 30; ++i) taken += sink->Put(Span("a"));
  EXPECT_EQ(taken, 10);
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(sink->Put(Span("b")));
  EXPECT_EQ(sink->dropped_count(), 20u);
  EXPECT_TRUE(collector.AwaitSpans(11));
}

// Takes connections, as the kernel does for a socket that listens, and never says a word.
class SilentListener {
 public:
  SilentListener() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentListener() { close(listener_); }
  // Resets the connections nobody took.
  void Close() const { shutdown(listener_, SHUT_RDWR); }
  int port() const { return port_; }

 private:
  const int listener_;
  int port_ = 0;
};

TEST_F(SpanSinkTest, ASilentCollectorFillsTheQueueAndHoldsNobodyUp) {
  const SilentListener listener;
  config_.queue_max = 4;
  config_.batch_max = 1;
  config_.post_timeout = absl::Hours(1);  // the first post hangs
  auto sink = Start(absl::StrCat("127.0.0.1:", listener.port()));
  int taken = 0;
  for (int i = 0; i < 200; ++i) taken += sink->Put(Span("a"));
  EXPECT_LE(taken, 5);
  EXPECT_EQ(sink->dropped_count(), 200u - static_cast<unsigned>(taken));
  listener.Close();  // ends the hanging post
}

TEST_F(SpanSinkTest, WhatTheSilentCollectorLeavesIsCounted) {
  const SilentListener listener;
  config_.post_timeout = absl::Milliseconds(20);
  auto sink = Start(absl::StrCat("127.0.0.1:", listener.port()));
  for (int i = 0; i < 20; ++i) sink->Put(Span("a"));
  EXPECT_TRUE(WaitUntil([&] { return sink->dropped_count() == 20; }));
  EXPECT_EQ(sink->exported_count(), 0u);
}

TEST_F(SpanSinkTest, AWrongEndpointIsRefused) {
  for (const char* endpoint : {"", "https://host:4318", "host", "http://host:0"}) {
    config_.endpoint = endpoint;
    EXPECT_EQ(SpanSink::Start(config_, clock_, registry_).status().code(),
              absl::StatusCode::kInvalidArgument)
        << endpoint;
  }
}

}  // namespace
}  // namespace tessera
