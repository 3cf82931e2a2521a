// KServe's inference over REST, beside the completions it stands for.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "services/gateway/gateway_server.h"
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

class InferRestTest : public ::testing::Test {
 protected:
  InferRestTest() : router_(testing::Storyteller("a story")) {
    config_ = testing::TinyGateway(folder_.path(), {router_.address()});
  }
  void Start() {
    auto server = GatewayServer::Start(config_, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(testing::WaitUntil([this] { return server_->ReadinessReasons().empty(); }));
  }
  RawReply Infer(std::string_view path, std::string_view body, std::string_view headers = "") {
    return Fetch(server_->http_port(), RawPost(path, body, headers));
  }
  static std::string Ask(std::string_view more = "") {
    return absl::StrCat(R"({"id":"mine","inputs":[{"name":"text_input","datatype":"BYTES",)",
                        R"("shape":[2],"data":["Hi","Ho"]}])", std::string(more), "}");
  }

  const testing::TempFolder folder_;
  const RealClock clock_;
  StubRouter router_;
  GatewayConfig config_;
  std::unique_ptr<GatewayServer> server_;
};

TEST_F(InferRestTest, InfersManyTexts) {
  Start();
  const RawReply reply = Infer("/v2/models/tiny/infer", Ask());
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.body,
            R"({"model_name":"tiny","model_version":"1","id":"mine",)"
            R"("parameters":{"prompt_tokens":6,"completion_tokens":16},"outputs":[)"
            R"({"name":"text_output","datatype":"BYTES","shape":[2],"data":["a story","a story"]},)"
            R"({"name":"finish_reason","datatype":"BYTES","shape":[2],"data":["stop","stop"]}]})");
  EXPECT_EQ(reply.Header("content-type"), "application/json");
  EXPECT_EQ(reply.Header("x-request-id"), "mine");
  EXPECT_THAT(
      Infer("/v2/models/tiny/versions/1/infer", Ask(R"(,"parameters":{"max_tokens":1})")).body,
      HasSubstr(R"("data":["length","length"])"));
  // The prompt is the one of /v1/completions.
  EXPECT_EQ(Infer("/v1/completions", R"({"prompt":"Ho","max_tokens":1})").status, 200);
  const auto requests = router_.requests();
  ASSERT_EQ(requests.size(), 5u);
  EXPECT_EQ(requests[1].prompt, requests[4].prompt);
  EXPECT_EQ(requests[2].tokens_max, 1u);
}

TEST_F(InferRestTest, ErrorsAreThoseOfTheOtherRoutes) {
  Start();
  const auto refused = [this](std::string_view path, std::string_view body) {
    const RawReply reply = Infer(path, body);
    return absl::StrCat(reply.status, " ", reply.body);
  };
  EXPECT_THAT(refused("/v2/models/other/infer", Ask()), HasSubstr("404 {\"error\":{\"message\":"));
  EXPECT_THAT(refused("/v2/models/other/infer", Ask()), HasSubstr("model_not_found"));
  EXPECT_THAT(refused("/v2/models/tiny/versions/2/infer", Ask()), HasSubstr("model_not_found"));
  EXPECT_THAT(refused("/v2/models/tiny/infer", "{"), HasSubstr("invalid_json"));
  EXPECT_THAT(refused("/v2/models/tiny/infer", "{}"), HasSubstr(R"("param":"inputs")"));
  EXPECT_THAT(refused("/v2/models/tiny/infer", Ask(R"(,"parameters":{"max_tokens":9999})")),
              HasSubstr("context_length_exceeded"));
  EXPECT_EQ(Fetch(server_->http_port(), RawGet("/v2/models/tiny/infer")).status, 405);
  EXPECT_EQ(Fetch(server_->http_port(), RawGet("/v2/models/tiny/infer")).Header("allow"), "post");
  EXPECT_EQ(Infer("/v2/models/tiny", Ask()).Header("allow"), "get");
  EXPECT_THAT(refused("/v2/models/tiny/infer/now", Ask()), HasSubstr("unknown_url"));
  EXPECT_EQ(Fetch(server_->http_port(),
                  "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n"
                  "Content-Type: application/octet-stream\r\n\r\n{}")
                .status,
            415);
  EXPECT_TRUE(router_.requests().empty());
}

TEST_F(InferRestTest, ALargeBodyIsReadElsewhereAndAClientThatLeavesEndsIt) {
  config_.rest.inline_bytes_max = 16;
  Start();
  EXPECT_EQ(Infer("/v2/models/tiny/infer", Ask()).status, 200);
  router_.HoldAt(2);
  {
    RawConnection client(server_->http_port());
    ASSERT_TRUE(client.Send(RawPost("/v2/models/tiny/infer", Ask())));
    ASSERT_TRUE(router_.AwaitRequests(4));
  }
  EXPECT_TRUE(router_.AwaitCancels(2));
}

TEST_F(InferRestTest, WithKeysItNeedsOne) {
  config_.keys_file = folder_.File("keys.json");
  testing::WriteFile(config_.keys_file, R"({"keys":[]})");
  Start();
  const RawReply reply = Infer("/v2/models/tiny/infer", Ask());
  EXPECT_EQ(reply.status, 401) << reply.body;
}

}  // namespace
}  // namespace tessera::gateway
