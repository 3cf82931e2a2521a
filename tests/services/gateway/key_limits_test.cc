// What a key may use of the server.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "services/gateway/gateway_server.h"
#include "services/gateway/keys/key_set.h"
#include "tests/support/raw_http.h"
#include "tests/support/stub_router.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using testing::Fetch;
using ::testing::HasSubstr;
using testing::RawConnection;
using testing::RawGet;
using testing::RawPost;
using testing::RawReply;
using testing::StubRouter;

class KeyLimitsTest : public ::testing::Test {
 protected:
  // One key, "secret", with these members besides name and hash.
  void Start(std::string_view limits) {
    const std::string path = folder_.File("keys.json");
    testing::WriteFile(path, absl::StrCat(R"({"keys":[{"name":"a","sha256":")",
                                          absl::BytesToHexString(Sha256("secret")), "\"",
                                          std::string(limits), "}]}"));
    config_.keys_file = path;
    auto server = GatewayServer::Start(config_, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(
        testing::WaitUntil([this] { return Fetch(port(), RawGet("/readyz")).status == 200; }));
  }
  int port() const { return server_->http_port(); }
  static std::string Chat(std::string_view more = "") {
    return RawPost(
        "/v1/chat/completions",
        absl::StrCat(R"({"messages":[{"role":"user","content":"Hi"}])", std::string(more), "}"),
        "Authorization: Bearer secret\r\n");
  }
  // Sends requests that the router holds, and waits until it has them.
  void SendHeld(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      held_.push_back(std::make_unique<RawConnection>(port()));
      ASSERT_TRUE(held_.back()->Send(Chat()));
      ASSERT_TRUE(router_.AwaitRequests(held_.size())) << held_.size();
    }
  }

  const testing::TempFolder folder_;
  RealClock clock_;
  StubRouter router_{testing::Storyteller("A story.")};
  GatewayConfig config_ = testing::TinyGateway(folder_.path(), {router_.address()}, 4096);
  std::unique_ptr<GatewayServer> server_;
  std::vector<std::unique_ptr<RawConnection>> held_;
};

TEST_F(KeyLimitsTest, WithoutMaxTokensARequestIsChargedWhatRepliesMostlyNeed) {
  router_.HoldAt(1);
  config_.session.reply_tokens_expected = 300;
  Start(R"(,"tokens_per_minute":1000)");
  SendHeld(3);
  const RawReply fourth = Fetch(port(), Chat());
  EXPECT_EQ(fourth.status, 429) << fourth.body;
  EXPECT_THAT(fourth.body, HasSubstr("1000 tokens a minute"));
  // What was not used comes back.
  router_.Release();
  for (const auto& client : held_) EXPECT_EQ(client->ReadReply().status, 200);
  EXPECT_EQ(Fetch(port(), Chat()).status, 200);
}

TEST_F(KeyLimitsTest, WhoIsOverALimitHearsItBeforeThePromptIsRead) {
  router_.HoldAt(1);
  Start(R"(,"parallel_max":1)");
  SendHeld(1);
  EXPECT_EQ(Fetch(port(), Chat()).status, 429);
  const RawReply unread = Fetch(port(), Chat(R"(,"temperature":"wrong")"));
  EXPECT_EQ(unread.status, 429) << unread.body;
  router_.Release();
  EXPECT_EQ(held_[0]->ReadReply().status, 200);
}

TEST_F(KeyLimitsTest, PriorityGoesNoFurtherThanTheKeysTier) {
  Start(R"(,"priority_min":-2)");
  for (const char* asked : {"-9", "-1", "4"}) {
    const std::string more = absl::StrCat(R"(,"priority":)", asked);
    EXPECT_EQ(Fetch(port(), Chat(more)).status, 200);
  }
  ASSERT_EQ(router_.requests().size(), 3u);
  EXPECT_EQ(router_.requests()[0].priority, -2);
  EXPECT_EQ(router_.requests()[1].priority, -1);
  EXPECT_EQ(router_.requests()[2].priority, 4);
}

TEST_F(KeyLimitsTest, WithoutATierNobodyGoesBeforeOthers) {
  Start("");
  EXPECT_EQ(Fetch(port(), Chat(R"(,"priority":-1)")).status, 200);
  EXPECT_EQ(router_.requests().at(0).priority, 0);
}

TEST_F(KeyLimitsTest, WhatIsLeftIsToldWithTheRequestTakenOff) {
  Start(R"(,"requests_per_minute":60,"tokens_per_minute":6000)");
  const RawReply whole = Fetch(port(), Chat());
  EXPECT_EQ(whole.Header("x-ratelimit-limit-requests"), "60");
  EXPECT_EQ(whole.Header("x-ratelimit-remaining-requests"), "59");
  EXPECT_NE(whole.Header("x-ratelimit-remaining-tokens"), "6000");
  EXPECT_NE(whole.Header("x-ratelimit-reset-tokens"), "");
  const RawReply stream = Fetch(port(), Chat(R"(,"stream":true)"));
  EXPECT_THAT(stream.Header("content-type"), HasSubstr("text/event-stream"));
  const std::string left = stream.Header("x-ratelimit-remaining-requests");
  EXPECT_TRUE(left == "58" || left == "59") << left;  // one a second comes back
}

}  // namespace
}  // namespace tessera::gateway
