#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "services/cli/process/local_host.h"
#include "services/cli/up/local_cluster.h"

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;

TEST(GatewayPortsTest, GrpcIsOneAboveHttp) {
  // Two free ports side by side are found sooner or later.
  for (int attempt = 0; attempt < 100; ++attempt) {
    const auto port = PickPort("127.0.0.1");
    ASSERT_TRUE(port.ok()) << port.status();
    const auto ports = PickGatewayPorts("127.0.0.1", *port);
    if (!ports.ok()) continue;
    EXPECT_EQ(ports->http, absl::StrCat("127.0.0.1:", *port));
    EXPECT_EQ(ports->grpc, absl::StrCat("127.0.0.1:", *port + 1));
    return;
  }
  FAIL() << "no port whose neighbour is free";
}

TEST(GatewayPortsTest, ZeroTakesAnyTwo) {
  const auto ports = PickGatewayPorts("127.0.0.1", 0);
  ASSERT_TRUE(ports.ok()) << ports.status();
  EXPECT_NE(ports->http, ports->grpc);
}

TEST(GatewayPortsTest, TheLastPortHasNoneAbove) {
  const auto ports = PickGatewayPorts("127.0.0.1", 65535);
  EXPECT_EQ(ports.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ports.status().message(), HasSubstr("at most 65534"));
}

}  // namespace
}  // namespace tessera::cli
