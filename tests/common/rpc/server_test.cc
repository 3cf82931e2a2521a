#include "common/rpc/server.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "common/concurrency/thread.h"
#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tessera/v1/generation.grpc.pb.h"

namespace tessera {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;

// Answers Cancel; "slow" waits for the client to give up.
class FakeGeneration final : public v1::Generation::Service {
 public:
  grpc::Status Cancel(grpc::ServerContext* context, const v1::CancelRequest* request,
                      v1::CancelReply* reply) override {
    if (request->request_id() == "slow") {
      if (!entered.HasBeenNotified()) entered.Notify();
      while (!context->IsCancelled()) release.WaitForNotificationWithTimeout(absl::Milliseconds(2));
      return grpc::Status::CANCELLED;
    }
    reply->set_was_running(true);
    return ToGrpc(request->request_id().empty() ? absl::InvalidArgumentError("request_id is empty")
                                                : absl::OkStatus());
  }
  absl::Notification entered;
  absl::Notification release;  // never notified: a wait that ends by itself
};

class RpcServerTest : public ::testing::Test {
 protected:
  void SetUp() override { Start("127.0.0.1:0"); }
  void Start(const std::string& listen) {
    auto server = RpcServer::Start({.listen = listen, .stop_timeout = absl::Milliseconds(50)},
                                   {{v1::Generation::service_full_name(), &service_}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = *MakeChannel({.address = server_->address()});
    health_ = Health::NewStub(channel_);
    generation_ = v1::Generation::NewStub(channel_);
  }
  absl::StatusOr<HealthCheckResponse::ServingStatus> Check(const std::string& name) {
    grpc::ClientContext context;
    SetTimeout(context, absl::Seconds(10));
    HealthCheckRequest request;
    request.set_service(name);
    HealthCheckResponse response;
    const absl::Status status = FromGrpc(health_->Check(&context, request, &response));
    if (!status.ok()) return status;
    return response.status();
  }
  absl::Status Cancel(const std::string& id, absl::Duration timeout = absl::Seconds(10)) {
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    v1::CancelRequest request;
    request.set_request_id(id);
    v1::CancelReply reply;
    return FromGrpc(generation_->Cancel(&context, request, &reply));
  }

  FakeGeneration service_;
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Health::Stub> health_;
  std::unique_ptr<v1::Generation::Stub> generation_;
};

TEST_F(RpcServerTest, ServesAtAnyFreePort) {
  EXPECT_GT(server_->port(), 0);
  EXPECT_TRUE(Cancel("a").ok());
  const absl::Status refused = Cancel("");
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.message(), "request_id is empty");
}

TEST_F(RpcServerTest, ServesIPv6) {
  server_.reset();
  Start("[::1]:0");
  EXPECT_THAT(server_->address(), HasSubstr("[::1]:"));
  EXPECT_TRUE(Cancel("a").ok());
}

TEST_F(RpcServerTest, APortInUseIsAnErrorThatNamesIt) {
  const auto second = RpcServer::Start({.listen = server_->address()}, {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr(server_->address()));
}

TEST_F(RpcServerTest, HealthFollowsTheServer) {
  const std::string name = v1::Generation::service_full_name();
  EXPECT_EQ(*Check(""), HealthCheckResponse::NOT_SERVING);
  server_->SetServing(true);
  EXPECT_EQ(*Check(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(*Check(name), HealthCheckResponse::SERVING);
  EXPECT_EQ(Check("no.such.Service").status().code(), absl::StatusCode::kNotFound);
  server_->Drain();
  EXPECT_EQ(*Check(name), HealthCheckResponse::NOT_SERVING);
  server_->SetServing(true);
  EXPECT_EQ(*Check(name), HealthCheckResponse::NOT_SERVING) << "draining is for good";
  EXPECT_TRUE(Cancel("a").ok()) << "what comes while draining is still served";
}

TEST_F(RpcServerTest, AWatchSeesEachChangeAndEndsWithTheServer) {
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(20));
  const auto watch = health_->Watch(&context, HealthCheckRequest());
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  server_->SetServing(true);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  Thread stopping("stop", [this](std::stop_token) { server_->Stop(); });
  ASSERT_TRUE(watch->Read(&response)) << "the last change is told before the end";
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(FromGrpc(watch->Finish()).code(), absl::StatusCode::kUnavailable);
}

TEST_F(RpcServerTest, ACallThatDoesNotEndIsCancelledAtTheDeadlineOfStop) {
  absl::Status outcome;
  Thread calling("call", [&](std::stop_token) { outcome = Cancel("slow", absl::Seconds(60)); });
  service_.entered.WaitForNotification();
  server_->Stop();
  calling.Join();
  EXPECT_FALSE(outcome.ok());
  EXPECT_EQ(Cancel("a", absl::Milliseconds(500)).code(), absl::StatusCode::kUnavailable);
}

TEST_F(RpcServerTest, DeadlinesAreKept) {
  EXPECT_EQ(Cancel("slow", absl::Milliseconds(20)).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(RpcServerTest, ReflectionCanDescribeHealth) {
  EXPECT_NE(google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
                "grpc.health.v1.Health"),
            nullptr);
}

TEST(TlsFilesTest, ErrorsNameTheFile) {
  EXPECT_THAT(ReadTlsFiles({.certificate_file = "a"}).status().message(), HasSubstr("together"));
  const auto missing = ReadTlsFiles({.ca_file = "/no/such/ca.pem"});
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("/no/such/ca.pem"));
  EXPECT_EQ(MakeChannel({.address = "x:1", .tls = {.key_file = "k"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto server = RpcServer::Start({.tls = {.ca_file = "ca.pem"}}, {});
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(server.status().message(), HasSubstr("needs a certificate"));
}

}  // namespace
}  // namespace tessera
