// A gateway that ends, seen from its ports.

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/concurrency/thread.h"
#include "common/rpc/rpc_status.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "inference/grpc_service.grpc.pb.h"
#include "services/gateway/gateway_server.h"
#include "tessera/v1/inference.grpc.pb.h"
#include "tests/support/raw_http.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using testing::Fetch;
using ::testing::HasSubstr;
using testing::RawConnection;
using testing::RawGet;
using testing::RawPost;
using testing::StubRouter;

constexpr std::string_view kStory = "Once upon a time.";

class GatewayDrainTest : public ::testing::Test {
 protected:
  GatewayDrainTest() : router_(testing::Storyteller(std::string(kStory))) {}
  void Start(absl::Duration drain) {
    GatewayConfig config = testing::TinyGateway(folder_.path(), {router_.address()});
    config.grpc_listen = "127.0.0.1:0";
    config.drain = drain;
    server_ = *GatewayServer::Start(config, clock_);
    for (const auto& [name, address] : server_->Endpoints()) {
      if (name == "grpc") address_ = address;
    }
    ASSERT_TRUE(testing::WaitUntil([this] { return server_->ReadinessReasons().empty(); }));
    inference_ = v1::Inference::NewStub(Channel());
  }
  std::shared_ptr<grpc::Channel> Channel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
  }
  static v1::ChatRequest Chat() {
    v1::ChatRequest request;
    v1::ChatMessage& message = *request.add_messages();
    message.set_role("user");
    message.set_content("Hi");
    return request;
  }
  absl::StatusCode Ask(v1::Inference::Stub& stub) {
    grpc::ClientContext context;
    SetTimeout(context, absl::Seconds(20));
    const auto stream = stub.Chat(&context, Chat());
    v1::GenerationReply reply;
    EXPECT_FALSE(stream->Read(&reply));
    return FromGrpc(stream->Finish()).code();
  }

  const testing::TempFolder folder_;
  const RealClock clock_;
  StubRouter router_;
  std::string address_;
  std::unique_ptr<GatewayServer> server_;
  std::unique_ptr<v1::Inference::Stub> inference_;
};

TEST_F(GatewayDrainTest, StreamsFinishNewCallsGoElsewhereAndHealthSaysSo) {
  router_.HoldAt(3);
  Start(absl::Seconds(60));
  grpc::ClientContext context;
  const auto stream = inference_->Chat(&context, Chat());
  v1::GenerationReply reply;
  ASSERT_TRUE(stream->Read(&reply));
  std::string text = reply.text();
  grpc::ClientContext watch_context;
  const auto watch = Health::NewStub(Channel())->Watch(&watch_context, HealthCheckRequest());
  HealthCheckResponse health;
  do {
    ASSERT_TRUE(watch->Read(&health));
  } while (health.status() != HealthCheckResponse::SERVING);

  Thread stop("stop", [this](std::stop_token) { server_->Stop(); });
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthCheckResponse::NOT_SERVING);
  grpc::ClientContext check_context;
  const auto check = Health::NewStub(Channel());
  EXPECT_TRUE(check->Check(&check_context, HealthCheckRequest(), &health).ok());
  EXPECT_EQ(health.status(), HealthCheckResponse::NOT_SERVING);
  // On the connection that is there and on new ones.
  EXPECT_EQ(Ask(*inference_), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Ask(*v1::Inference::NewStub(Channel())), absl::StatusCode::kUnavailable);
  grpc::ClientContext infer_context;
  inference::ModelInferResponse inferred;
  const auto kserve = inference::GRPCInferenceService::NewStub(Channel());
  EXPECT_EQ(FromGrpc(kserve->ModelInfer(&infer_context, {}, &inferred)).code(),
            absl::StatusCode::kUnavailable);
  // As long as the stream runs, HTTP has an answer for everybody.
  const auto late = Fetch(server_->http_port(), RawPost("/v1/completions", R"({"prompt":"a"})"));
  EXPECT_EQ(late.status, 503) << late.body;
  EXPECT_THAT(late.body, HasSubstr("draining"));
  EXPECT_EQ(Fetch(server_->http_port(), RawGet("/readyz")).status, 503);

  router_.Release();
  while (stream->Read(&reply)) text += reply.text();
  const absl::Status end = FromGrpc(stream->Finish());
  EXPECT_TRUE(end.ok()) << end;
  EXPECT_EQ(text, kStory);
  stop.Join();
  EXPECT_FALSE(watch->Read(&health));
  EXPECT_EQ(FromGrpc(watch->Finish()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Ask(*inference_), absl::StatusCode::kUnavailable);
}

TEST_F(GatewayDrainTest, NothingUnderWayEndsItAtOnce) {
  Start(absl::Seconds(60));
  const RawConnection idle(server_->http_port());
  const absl::Duration begin = clock_.Elapsed();
  server_->Stop();
  EXPECT_LT(clock_.Elapsed() - begin, absl::Seconds(20));
}

TEST_F(GatewayDrainTest, WhatIsNotOverInTimeHearsWhy) {
  router_.HoldAt(3);
  Start(absl::Milliseconds(100));
  grpc::ClientContext context;
  const auto call = inference_->Chat(&context, Chat());
  v1::GenerationReply reply;
  ASSERT_TRUE(call->Read(&reply));
  const std::string body = R"({"messages":[{"role":"user","content":"Hi"}])";
  RawConnection stream(server_->http_port());
  ASSERT_TRUE(stream.Send(RawPost("/v1/chat/completions", body + R"(,"stream":true})")));
  ASSERT_TRUE(stream.ReadUntil("Onc").has_value());
  RawConnection whole(server_->http_port());
  ASSERT_TRUE(whole.Send(RawPost("/v1/chat/completions", body + "}")));
  ASSERT_TRUE(router_.AwaitRequests(3));

  server_->Stop();
  const auto end = stream.ReadUntil("0\r\n\r\n");
  ASSERT_TRUE(end.has_value());
  EXPECT_THAT(*end, HasSubstr(R"("code":"draining")"));
  const auto refused = whole.ReadReply();
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body, HasSubstr(R"("code":"draining")"));
  EXPECT_NE(refused.Header("retry-after"), "");
  while (call->Read(&reply)) {
  }
  const grpc::Status status = call->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_details(), HasSubstr("draining"));
  EXPECT_TRUE(router_.AwaitCancels(3));
}

}  // namespace
}  // namespace tessera::gateway
