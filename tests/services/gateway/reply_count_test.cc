// What a gateway counts of its replies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "services/gateway/gateway_server.h"
#include "tests/support/raw_http.h"
#include "tests/support/stub_router.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"

namespace tessera::gateway {
namespace {

using testing::Fetch;
using ::testing::HasSubstr;
using testing::RawGet;
using testing::RawPost;

TEST(ReplyCountTest, RepliesAreCountedByStatus) {
  const testing::TempFolder folder;
  const RealClock clock;
  testing::StubRouter router;
  auto server =
      GatewayServer::Start(testing::TinyGateway(folder.path(), {router.address()}, 4096), clock);
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->http_port();
  const auto counted = [&](const std::string& code_and_count) {
    EXPECT_THAT(Fetch(port, RawGet("/metrics")).body,
                HasSubstr("tessera_gateway_http_replies_total{code=" + code_and_count + "\n"));
  };
  counted("\"404\"} 0");  // a rate sees the first one as well
  EXPECT_EQ(Fetch(port, RawGet("/nowhere")).status, 404);
  EXPECT_EQ(Fetch(port, RawPost("/v1/chat/completions", "{")).status, 400);
  EXPECT_EQ(Fetch(port, RawPost("/v1/chat/completions", "[]")).status, 400);
  counted("\"404\"} 1");
  counted("\"400\"} 2");
  counted("\"500\"} 0");
}

}  // namespace
}  // namespace tessera::gateway
