// What the gateway says of itself when the experts are gone: its router stands, but nothing runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/raw_http.h"
#include "tests/support/served_cluster.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

using testing::Fetch;
using testing::RawGet;
using testing::ServedCluster;

TEST(ReadinessTest, WithoutShardsTheGatewayIsNotReady) {
  const auto cluster = ServedCluster::Start({.shard_count = 2});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const int port = (*cluster)->http_port();
  const auto await = [port](const char* path, int status) {
    return testing::WaitUntil([=] { return Fetch(port, RawGet(path)).status == status; });
  };
  const auto serving = [port] { return Fetch(port, RawGet("/v1/models")).status == 200; };
  ASSERT_TRUE(await("/readyz", 200));
  EXPECT_TRUE(serving());
  (*cluster)->KillShard(0);
  (*cluster)->KillShard(1);
  EXPECT_TRUE(await("/readyz", 503));
  EXPECT_THAT(Fetch(port, RawGet("/readyz")).body, ::testing::HasSubstr("router 127.0.0.1:"));
  EXPECT_TRUE(await("/health", 503));
  EXPECT_FALSE(serving());
  EXPECT_EQ(Fetch(port, RawGet("/livez")).status, 200);
  ASSERT_TRUE((*cluster)->StartShard(0).ok());
  ASSERT_TRUE((*cluster)->StartShard(1).ok());
  EXPECT_TRUE(await("/readyz", 200));
  EXPECT_TRUE(serving());
  EXPECT_EQ((*cluster)->Complete({30, 31, 32}, 4), 200);
}

}  // namespace
}  // namespace tessera
