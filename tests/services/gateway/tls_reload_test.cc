// TLS of the public port: certificates change while connections live.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/base/clock.h"
#include "services/gateway/gateway_server.h"
#include "services/gateway/http/http_server.h"
#include "tests/support/raw_http.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/tls_peer.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::MakeCertificate;
using ::tessera::testing::PemPair;
using ::tessera::testing::RawConnection;
using ::tessera::testing::RawGet;
using ::tessera::testing::TlsConnection;
using ::tessera::testing::WriteFile;
using ::testing::HasSubstr;

class TlsReloadTest : public ::testing::Test {
 protected:
  void Install(const PemPair& pair) {
    WriteFile(folder_.File("key.pem"), pair.key);
    WriteFile(folder_.File("cert.pem"), pair.certificate);
  }
  std::string MetAt(int port) { return TlsConnection(port).PeerName(); }

  const testing::TempFolder folder_;
  RealClock clock_;
};

TEST_F(TlsReloadTest, NewConnectionsMeetTheNewCertificateAndOldOnesGoOn) {
  Install(MakeCertificate("first"));
  HttpServerConfig config;
  config.certificate_file = folder_.File("cert.pem");
  config.key_file = folder_.File("key.pem");
  const auto server = HttpServer::Start(
      config,
      [](HttpRequest, std::shared_ptr<HttpReply> reply) {
        reply->Send({.status = 200, .headers = {}, .body = "hello"});
      },
      [](const HttpFault& fault) { return HttpResponse{.status = fault.status}; }, clock_);
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->port();
  TlsConnection old(port);
  ASSERT_TRUE(old.is_open());
  EXPECT_EQ(old.PeerName(), "first");
  ASSERT_TRUE(old.Send(RawGet("/")));
  EXPECT_TRUE(old.ReadUntil("hello").has_value());
  const PemPair second = MakeCertificate("second");
  Install(second);
  EXPECT_EQ(MetAt(port), "first");  // nobody told it
  ASSERT_TRUE((*server)->ReloadTls().ok());
  EXPECT_EQ(MetAt(port), "second");
  ASSERT_TRUE(old.Send(RawGet("/")));
  EXPECT_TRUE(old.ReadUntil("hello").has_value());
  // What cannot be used changes nothing: no PEM, the key of another certificate, no file.
  WriteFile(folder_.File("cert.pem"), "nonsense");
  EXPECT_FALSE((*server)->ReloadTls().ok());
  WriteFile(folder_.File("cert.pem"), MakeCertificate("third").certificate);
  EXPECT_FALSE((*server)->ReloadTls().ok());
  ASSERT_EQ(std::remove(folder_.File("key.pem").c_str()), 0);
  EXPECT_FALSE((*server)->ReloadTls().ok());
  EXPECT_EQ(MetAt(port), "second");
  // Who does not speak TLS is not answered.
  RawConnection plain(port);
  ASSERT_TRUE(plain.Send(RawGet("/")));
  EXPECT_FALSE(plain.ReadUntil("hello").has_value());
}

TEST_F(TlsReloadTest, TheGatewayNoticesNewFiles) {
  testing::StubRouter router;
  Install(MakeCertificate("first"));
  GatewayConfig config = testing::TinyGateway(folder_.path(), {router.address()});
  config.http.certificate_file = folder_.File("cert.pem");
  config.http.key_file = folder_.File("key.pem");
  const auto server = GatewayServer::Start(config, clock_);
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->http_port();
  TlsConnection old(port);
  EXPECT_EQ(old.PeerName(), "first");
  Install(MakeCertificate("second"));
  EXPECT_TRUE(testing::WaitUntil([&] { return MetAt(port) == "second"; }));
  ASSERT_TRUE(old.Send(RawGet("/livez")));
  const auto reply = old.ReadUntil("ok\n");
  ASSERT_TRUE(reply.has_value());
  EXPECT_THAT(*reply, HasSubstr("HTTP/1.1 200"));
}

TEST_F(TlsReloadTest, SoDoesItsGrpcPort) {
  Install(MakeCertificate("first"));
  GatewayConfig config = testing::TinyGateway(folder_.path(), {"127.0.0.1:1"});
  config.grpc_listen = "127.0.0.1:0";
  config.tls = {.certificate_file = folder_.File("cert.pem"), .key_file = folder_.File("key.pem")};
  const auto server = GatewayServer::Start(config, clock_);
  ASSERT_TRUE(server.ok()) << server.status();
  int port = 0;
  for (const auto& [name, address] : (*server)->Endpoints()) {
    if (name == "grpc") port = std::stoi(address.substr(address.rfind(':') + 1));
  }
  EXPECT_EQ(MetAt(port), "first");
  Install(MakeCertificate("second"));
  EXPECT_EQ(MetAt(port), "second");
}

}  // namespace
}  // namespace tessera::gateway
