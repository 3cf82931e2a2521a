// The configs that `tessera up` writes are such as the services read.

#include "services/cli/up/service_configs.h"

#include <gtest/gtest.h>

#include "common/json/json.h"

namespace tessera::cli {
namespace {

std::string TextAt(const JsonDocument& document, std::string_view key) {
  const auto member = document.root().Find(key);
  return member.has_value() ? std::string(member->AsString().value_or("")) : "";
}

TEST(ServiceConfigsTest, AreJsonWithWhatWasChosen) {
  const ClusterSettings cluster = {.model = "/models/\"odd\" name",
                                   .secret_file = "/state/secret",
                                   .strict = true,
                                   .expert_dtype = "q8",
                                   .dense_dtype = "bf16"};
  const auto router = JsonDocument::Parse(RouterConfigText(
      cluster, {.grpc_listen = "127.0.0.1:20010", .endpoints_file = "/e", .threads = 3}));
  ASSERT_TRUE(router.ok()) << router.status();
  EXPECT_EQ(TextAt(*router, "model"), cluster.model);
  EXPECT_EQ(TextAt(*router, "grpc_listen"), "127.0.0.1:20010");
  EXPECT_TRUE(*router->root().Find("strict")->AsBool());
  EXPECT_EQ(*router->root().Find("compute")->Find("dense_dtype")->AsString(), "bf16");
  EXPECT_EQ(*router->root().Find("compute")->Find("threads")->AsUnsigned(), 3u);

  const auto shard = JsonDocument::Parse(ShardConfigText(
      cluster,
      {.shard_id = 1, .shard_count = 3, .replicas = 2, .router_addresses = {"127.0.0.1:20010"}}));
  ASSERT_TRUE(shard.ok()) << shard.status();
  EXPECT_EQ(*shard->root().Find("shard_id")->AsUnsigned(), 1u);
  EXPECT_EQ(*shard->root().Find("replicas")->AsUnsigned(), 2u);
  EXPECT_EQ(TextAt(*shard, "data_listen"), "shm:");
  EXPECT_EQ(*shard->root().Find("router_addresses")->at(0).AsString(), "127.0.0.1:20010");
  EXPECT_EQ(*shard->root().Find("compute")->Find("expert_dtype")->AsString(), "q8");

  ClusterSettings grpc = cluster;
  grpc.transport = "grpc";
  const auto over_grpc = JsonDocument::Parse(ShardConfigText(grpc, {}));
  ASSERT_TRUE(over_grpc.ok());
  EXPECT_EQ(TextAt(*over_grpc, "data_listen"), "grpc:");

  const auto gateway = JsonDocument::Parse(
      GatewayConfigText(cluster, {.http_listen = "127.0.0.1:8000", .router_addresses = {"r:1"}}));
  ASSERT_TRUE(gateway.ok());
  EXPECT_EQ(TextAt(*gateway, "http_listen"), "127.0.0.1:8000");
}

}  // namespace
}  // namespace tessera::cli
