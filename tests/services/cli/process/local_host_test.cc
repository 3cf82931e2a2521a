#include "services/cli/process/local_host.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/http/http_server.h"
#include "tests/support/temp_folder.h"

namespace tessera::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::unique_ptr<HttpServer> Serve(int status) {
  auto server = HttpServer::Start(
      {},
      {{"GET", "/readyz", [status](const HttpRequest&) { return HttpReply{.status = status}; }}});
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

TEST(LocalHostTest, APortInUseIsNamed) {
  const auto port = PickPort("127.0.0.1");
  ASSERT_TRUE(port.ok()) << port.status();
  EXPECT_TRUE(CheckCanListen("127.0.0.1", *port).ok());
  HttpServerConfig config;
  config.listen = absl::StrCat("127.0.0.1:", *port);
  const auto server = HttpServer::Start(config, {});
  ASSERT_TRUE(server.ok()) << server.status();
  const absl::Status taken = CheckCanListen("127.0.0.1", *port);
  EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.message()), HasSubstr(absl::StrCat("port ", *port)));
  EXPECT_FALSE(CheckCanListen("192.0.2.1", 0).ok()) << "not an address of this box";
}

TEST(LocalHostTest, AsksAListenerForItsReadiness) {
  EXPECT_EQ(HttpStatusOf(Serve(200)->address(), "/readyz", absl::Seconds(10)), 200);
  EXPECT_EQ(HttpStatusOf(Serve(503)->address(), "/readyz", absl::Seconds(10)), 503);
  EXPECT_EQ(HttpStatusOf("127.0.0.1:1", "/readyz", absl::Seconds(10)), 0);
  EXPECT_EQ(HttpStatusOf("nowhere", "/readyz", absl::Seconds(10)), 0);
}

TEST(LocalHostTest, RemovesOnlySegmentsThatNobodyHasOpen) {
  const testing::TempFolder folder;
  for (const char* name : {"ucx_shm_posix_dead", "ucx_shm_posix_live", "other"}) {
    ASSERT_TRUE(ReplaceFile(folder.File(name), "x").ok());
  }
  const int held = open(folder.File("ucx_shm_posix_live").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(held, 0);
  EXPECT_THAT(RemoveStaleSharedMemory(folder.path()), ElementsAre("ucx_shm_posix_dead"));
  EXPECT_TRUE(std::filesystem::exists(folder.File("ucx_shm_posix_live")));
  EXPECT_TRUE(std::filesystem::exists(folder.File("other")));
  close(held);
  EXPECT_THAT(RemoveStaleSharedMemory(folder.path()), ElementsAre("ucx_shm_posix_live"));
  EXPECT_THAT(RemoveStaleSharedMemory(folder.path()), IsEmpty());
}

}  // namespace
}  // namespace tessera::cli
