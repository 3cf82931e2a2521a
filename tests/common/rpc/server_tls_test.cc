#include "common/rpc/server_tls.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "common/base/log.h"
#include "common/concurrency/thread.h"
#include "common/rpc/rpc_status.h"
#include "common/rpc/server.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tls_peer.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;
using testing::MakeCertificate;
using testing::PemPair;
using testing::TlsConnection;
using testing::WriteFile;

class ServerTlsTest : public ::testing::Test {
 protected:
  void Install(const PemPair& pair) {
    WriteFile(files_.key_file, pair.key);
    WriteFile(files_.certificate_file, pair.certificate);
  }
  void Start() {
    auto server = RpcServer::Start({.stop_timeout = absl::Milliseconds(50), .tls = files_}, {});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  absl::Status StartError() { return RpcServer::Start({.tls = files_}, {}).status(); }
  // Whom a new connection meets.
  std::string Met() { return TlsConnection(server_->port()).PeerName(); }
  // A client that trusts `server` alone, and shows `own` if it is asked.
  std::unique_ptr<Health::Stub> Client(const PemPair& server, const std::string& name,
                                       const PemPair& own = {}) {
    grpc::ChannelArguments arguments;
    arguments.SetString(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, name);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return Health::NewStub(grpc::CreateCustomChannel(
        server_->address(), grpc::SslCredentials({server.certificate, own.key, own.certificate}),
        arguments));
  }
  static absl::Status Check(Health::Stub& client) {
    grpc::ClientContext context;
    SetTimeout(context, absl::Seconds(10));
    HealthCheckResponse response;
    return FromGrpc(client.Check(&context, HealthCheckRequest(), &response));
  }

  const testing::TempFolder folder_;
  TlsFiles files_ = {.certificate_file = folder_.File("cert.pem"),
                     .key_file = folder_.File("key.pem")};
  std::unique_ptr<RpcServer> server_;
};

TEST_F(ServerTlsTest, NewConnectionsMeetTheNewCertificateAndOldOnesGoOn) {
  const PemPair first = MakeCertificate("first");
  Install(first);
  Start();
  const auto old = Client(first, "first");
  ASSERT_TRUE(Check(*old).ok());
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(60));
  const auto watch = old->Watch(&context, HealthCheckRequest());
  HealthCheckResponse state;
  ASSERT_TRUE(watch->Read(&state));
  const PemPair second = MakeCertificate("second");
  Install(second);
  EXPECT_EQ(Met(), "second");
  EXPECT_EQ(Met(), "second");
  EXPECT_TRUE(Check(*Client(second, "second")).ok());
  EXPECT_FALSE(Check(*Client(first, "first")).ok()) << "nobody shows the old certificate any more";
  // What was open stays open, with the stream on it.
  EXPECT_TRUE(Check(*old).ok());
  server_->SetServing(true);
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::SERVING);
  context.TryCancel();
}

TEST_F(ServerTlsTest, WhatCannotBeUsedChangesNothingAndIsSaidOnce) {
  Install(MakeCertificate("first"));
  Start();
  ASSERT_TRUE(StartLogging({.file = folder_.File("log")}).ok());
  // Half of a pair, as a connection may see it between two writes; no PEM; no file.
  const PemPair second = MakeCertificate("second");
  WriteFile(files_.certificate_file, second.certificate);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Met(), "first");
  WriteFile(files_.key_file, "nonsense");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Met(), "first");
  ASSERT_EQ(std::remove(files_.certificate_file.c_str()), 0);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Met(), "first");
  Install(second);
  EXPECT_EQ(Met(), "second");
  ASSERT_TRUE(StartLogging({}).ok());  // standard error, as before
  const std::string log = testing::ReadFile(folder_.File("log"));
  const auto count = [&log](std::string_view words) {
    int found = 0;
    for (size_t at = 0; (at = log.find(words, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  EXPECT_EQ(count("cannot be used, the old ones stay"), 3) << log;
  EXPECT_EQ(count("not the key of"), 1) << log;
  EXPECT_EQ(count("no PEM key"), 1) << log;
  EXPECT_EQ(count("new connections use them"), 1) << log;
}

TEST_F(ServerTlsTest, ClientsShowTheirCertificateToo) {
  const PemPair server = MakeCertificate("server");
  const PemPair friendly = MakeCertificate("friend");
  const PemPair stranger = MakeCertificate("stranger");
  Install(server);
  files_.ca_file = folder_.File("ca.pem");
  WriteFile(files_.ca_file, friendly.certificate);
  Start();
  EXPECT_TRUE(Check(*Client(server, "server", friendly)).ok());
  EXPECT_FALSE(Check(*Client(server, "server", stranger)).ok());
  EXPECT_FALSE(Check(*Client(server, "server")).ok());
  // Whom it lets in changes with the file, as the rest does.
  WriteFile(files_.ca_file, stranger.certificate);
  EXPECT_TRUE(Check(*Client(server, "server", stranger)).ok());
  EXPECT_FALSE(Check(*Client(server, "server", friendly)).ok());
  WriteFile(files_.ca_file, "nobody");
  EXPECT_TRUE(Check(*Client(server, "server", stranger)).ok());
}

TEST_F(ServerTlsTest, ABadFileAtTheStartIsAnErrorThatNamesIt) {
  const PemPair pair = MakeCertificate("first");
  EXPECT_EQ(StartError().code(), absl::StatusCode::kNotFound);
  Install({.certificate = "nonsense", .key = pair.key});
  EXPECT_EQ(StartError().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(StartError().message(), HasSubstr("cert.pem: no PEM certificate"));
  Install({.certificate = pair.certificate, .key = "nonsense"});
  EXPECT_THAT(StartError().message(), HasSubstr("key.pem: no PEM key"));
  Install({.certificate = pair.certificate, .key = MakeCertificate("other").key});
  EXPECT_THAT(StartError().message(), HasSubstr("not the key of"));
  Install(pair);
  files_.ca_file = folder_.File("ca.pem");
  WriteFile(files_.ca_file, "nonsense");
  EXPECT_THAT(StartError().message(), HasSubstr("ca.pem: no PEM certificate"));
}

// The change happens while many connections begin: none of them fails.
TEST_F(ServerTlsTest, ManyConnectionsWhileTheFilesChange) {
  std::vector<PemPair> pairs;
  for (int i = 0; i < 3; ++i) pairs.push_back(MakeCertificate("server"));
  Install(pairs[0]);
  Start();
  std::atomic<bool> is_over{false};
  std::atomic<int> failed{0};
  std::atomic<int> met{0};
  std::vector<Thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back("client", [&](std::stop_token) {
      while (!is_over) ++(Met() == "server" ? met : failed);
    });
  }
  for (int round = 0; round < 9; ++round) {
    const int before = met;
    Install(pairs[static_cast<size_t>(round) % pairs.size()]);
    EXPECT_TRUE(testing::WaitUntil([&] { return met >= before + 8 || failed > 0; }));
  }
  is_over = true;
  for (Thread& client : clients) client.Join();
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace tessera
