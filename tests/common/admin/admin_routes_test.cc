#include "common/admin/admin_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/raw_client.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::HttpGet;
using ::testing::StartsWith;

TEST(AdminRoutesTest, ProbesFollowTheService) {
  Registry registry;
  registry.AddCounter("tessera_router_steps_total", "Steps committed.").Increment(3);
  std::vector<std::string> reasons = {"weights are loading", "no shard"};
  const auto server = HttpServer::Start({}, AdminRoutes(registry, [&] { return reasons; }));
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->port();
  EXPECT_THAT(HttpGet(port, "/livez"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(HttpGet(port, "/readyz"),
              AllOf(StartsWith("HTTP/1.1 503"), EndsWith("weights are loading\nno shard\n")));
  EXPECT_THAT(HttpGet(port, "/health"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(HttpGet(port, "/startupz"), StartsWith("HTTP/1.1 503"));
  reasons.clear();
  EXPECT_THAT(HttpGet(port, "/startupz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(HttpGet(port, "/readyz"), StartsWith("HTTP/1.1 200"));
  reasons = {"draining"};
  EXPECT_THAT(HttpGet(port, "/readyz"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(HttpGet(port, "/startupz"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(HttpGet(port, "/metrics"), AllOf(HasSubstr("text/plain; version=0.0.4"),
                                               HasSubstr("tessera_router_steps_total 3")));
  EXPECT_THAT(HttpGet(port, "/version"), HasSubstr("{\"version\":\"0."));
}

}  // namespace
}  // namespace tessera
