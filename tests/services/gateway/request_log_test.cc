// The line that a gateway writes of each request, if it is to.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/log.h"
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
using ::testing::Not;
using testing::RawGet;
using testing::RawPost;
using testing::StubRouter;

class RequestLogTest : public ::testing::Test {
 protected:
  ~RequestLogTest() override {
    server_.reset();
    EXPECT_TRUE(StartLogging({}).ok());
  }
  void Start(bool log_requests) {
    ASSERT_TRUE(StartLogging({.file = folder_.File("log"), .json = true}).ok());
    GatewayConfig config = testing::TinyGateway(folder_.path(), {router_.address()}, 4096);
    config.session.log_requests = log_requests;
    auto server = GatewayServer::Start(config, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(testing::WaitUntil(
        [this] { return Fetch(server_->http_port(), RawGet("/readyz")).status == 200; }));
  }
  int Chat(const std::string& id) const {
    const std::string headers = absl::StrCat(
        "x-request-id: ", id,
        "\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n");
    const std::string body =
        R"({"model":"tiny","max_tokens":3,"messages":[{"role":"user","content":"a secret"}]})";
    return Fetch(server_->http_port(), RawPost("/v1/chat/completions", body, headers)).status;
  }
  std::vector<std::string> RequestLines() const {
    std::vector<std::string> lines =
        absl::StrSplit(testing::ReadFile(folder_.File("log")), '\n', absl::SkipEmpty());
    std::erase_if(lines, [](const std::string& line) {
      return !absl::StrContains(line, R"("message":"request")");
    });
    return lines;
  }

  const testing::TempFolder folder_;
  RealClock clock_;
  StubRouter router_;
  std::unique_ptr<GatewayServer> server_;
};

TEST_F(RequestLogTest, ALineARequest) {
  Start(true);
  ASSERT_EQ(Chat("mine"), 200);
  router_.RefuseWith(absl::InternalError("broken"), absl::ZeroDuration());
  ASSERT_EQ(Chat("theirs"), 500);
  const std::vector<std::string> lines = RequestLines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr(R"("request_id":"mine",)"
                                  R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","model":"tiny",)"
                                  R"("end":"ok","finish_reasons":"length",)"));
  EXPECT_THAT(lines[0], HasSubstr(R"("completion_tokens":3,)"));
  EXPECT_THAT(lines[0], HasSubstr(R"("total_seconds":)"));
  EXPECT_THAT(lines[1], HasSubstr(R"("request_id":"theirs",)"));
  EXPECT_THAT(lines[1], HasSubstr(R"("end":"internal",)"));
  for (const std::string& line : lines) EXPECT_THAT(line, Not(HasSubstr("secret")));
  // The router knows it by the same name, with the attempt behind it.
  ASSERT_EQ(router_.requests().size(), 2u);
  EXPECT_THAT(router_.requests()[0].request_id, ::testing::StartsWith("mine#"));
}

TEST_F(RequestLogTest, NoneByDefault) {
  Start(GatewayConfig().session.log_requests);
  ASSERT_EQ(Chat("mine"), 200);
  EXPECT_TRUE(RequestLines().empty());
}

}  // namespace
}  // namespace tessera::gateway
