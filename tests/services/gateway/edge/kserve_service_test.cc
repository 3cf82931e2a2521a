#include "services/gateway/edge/kserve_service.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "inference/grpc_service.grpc.pb.h"
#include "services/gateway/gateway_server.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/tiny_tokenizer.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::StubRouter;
using ::tessera::testing::StubRouterOptions;
using ::tessera::testing::TinyId;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Says the prompt again, in capitals, and stops.
StubRouterOptions Echo() {
  StubRouterOptions options;
  options.eos_token = testing::kTinyEos;
  options.token = [](const wire::GenerationParams& params, uint32_t index) {
    const size_t at = index + 1;  // behind the begin of text
    if (at >= params.prompt.size()) return testing::kTinyEos;
    return params.prompt[at] + ('A' - 'a');
  };
  return options;
}

// An element of BYTES as it stands in raw contents.
std::string RawElement(std::string_view text) {
  const auto size = static_cast<uint32_t>(text.size());
  std::string raw(sizeof(size), '\0');
  std::memcpy(raw.data(), &size, sizeof(size));
  return raw.append(text);
}

class KserveServiceTest : public ::testing::Test {
 protected:
  KserveServiceTest() : router_(Echo()) {
    GatewayConfig config = testing::TinyGateway(folder_.path(), {router_.address()});
    config.rest.version = "7";
    config.grpc_listen = "127.0.0.1:0";
    server_ = *GatewayServer::Start(config, clock_);
    for (const auto& [name, address] : server_->Endpoints()) {
      if (name != "grpc") continue;
      channel_ = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
    }
    stub_ = inference::GRPCInferenceService::NewStub(channel_);
    EXPECT_TRUE(testing::WaitUntil([this] { return server_->ReadinessReasons().empty(); }));
  }
  static inference::ModelInferRequest Ask(const std::vector<std::string>& texts) {
    inference::ModelInferRequest request;
    request.set_model_name("tiny");
    request.set_id("mine");
    auto& input = *request.add_inputs();
    input.set_name("text_input");
    input.set_datatype("BYTES");
    input.add_shape(static_cast<int64_t>(texts.size()));
    for (const std::string& text : texts) input.mutable_contents()->add_bytes_contents(text);
    return request;
  }
  grpc::Status Infer(const inference::ModelInferRequest& request,
                     inference::ModelInferResponse& reply) {
    grpc::ClientContext context;
    return stub_->ModelInfer(&context, request, &reply);
  }
  void ExpectRefused(const inference::ModelInferRequest& request, grpc::StatusCode code,
                     const std::string& part) {
    inference::ModelInferResponse reply;
    const grpc::Status status = Infer(request, reply);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(part));
  }

  const testing::TempFolder folder_;
  RealClock clock_;
  StubRouter router_;
  std::unique_ptr<GatewayServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

TEST_F(KserveServiceTest, TellsAboutItself) {
  grpc::ClientContext live_context;
  inference::ServerLiveResponse live;
  ASSERT_TRUE(stub_->ServerLive(&live_context, {}, &live).ok());
  EXPECT_TRUE(live.live());
  grpc::ClientContext ready_context;
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(stub_->ServerReady(&ready_context, {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  grpc::ClientContext server_context;
  inference::ServerMetadataResponse server;
  ASSERT_TRUE(stub_->ServerMetadata(&server_context, {}, &server).ok());
  EXPECT_EQ(server.name(), "tessera");
  EXPECT_EQ(server.version(), "7");
  inference::ModelMetadataRequest request;
  request.set_name("tiny");
  grpc::ClientContext model_context;
  inference::ModelMetadataResponse model;
  ASSERT_TRUE(stub_->ModelMetadata(&model_context, request, &model).ok());
  EXPECT_THAT(model.versions(), ElementsAre("1"));
  ASSERT_EQ(model.inputs_size(), 1);
  EXPECT_EQ(model.inputs(0).name(), "text_input");
  EXPECT_EQ(model.inputs(0).datatype(), "BYTES");
  EXPECT_THAT(model.inputs(0).shape(), ElementsAre(-1));
  ASSERT_EQ(model.outputs_size(), 2);
  EXPECT_EQ(model.outputs(0).name(), "text_output");
}

TEST_F(KserveServiceTest, ReadinessFollowsTheRoutersAndKnowsModels) {
  const auto ready = [this](const std::string& name, const std::string& version, bool& result) {
    inference::ModelReadyRequest request;
    request.set_name(name);
    request.set_version(version);
    grpc::ClientContext context;
    inference::ModelReadyResponse reply;
    const grpc::Status status = stub_->ModelReady(&context, request, &reply);
    result = reply.ready();
    return status.error_code();
  };
  bool is_ready = false;
  EXPECT_EQ(ready("tiny", "", is_ready), grpc::StatusCode::OK);
  EXPECT_TRUE(is_ready);
  EXPECT_EQ(ready("tiny", "2", is_ready), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ready("other", "", is_ready), grpc::StatusCode::NOT_FOUND);
  router_.Die();
  EXPECT_TRUE(testing::WaitUntil([&] {
    EXPECT_EQ(ready("tiny", "1", is_ready), grpc::StatusCode::OK);
    return !is_ready;
  }));
}

TEST_F(KserveServiceTest, IsKnownToHealth) {
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(inference::GRPCInferenceService::service_full_name());
  EXPECT_TRUE(testing::WaitUntil([&] {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse reply;
    EXPECT_TRUE(health->Check(&context, request, &reply).ok());
    return reply.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  }));
}

TEST_F(KserveServiceTest, InfersManyTexts) {
  inference::ModelInferRequest request = Ask({"abc", "xy", "longer"});
  (*request.mutable_parameters())["max_tokens"].set_int64_param(4);
  (*request.mutable_parameters())["temperature"].set_double_param(0.5);
  request.mutable_inputs(0)->clear_shape();
  request.mutable_inputs(0)->add_shape(3);
  request.mutable_inputs(0)->add_shape(1);
  auto& seed = *request.add_inputs();
  seed.set_name("seed");
  seed.set_datatype("INT32");
  seed.add_shape(1);
  seed.mutable_contents()->add_int_contents(11);
  inference::ModelInferResponse reply;
  const grpc::Status status = Infer(request, reply);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(reply.id(), "mine");
  EXPECT_EQ(reply.model_name(), "tiny");
  EXPECT_EQ(reply.model_version(), "1");
  ASSERT_EQ(reply.outputs_size(), 2);
  EXPECT_EQ(reply.outputs(0).name(), "text_output");
  EXPECT_THAT(reply.outputs(0).shape(), ElementsAre(3, 1));
  EXPECT_THAT(reply.outputs(0).contents().bytes_contents(), ElementsAre("ABC", "XY", "LONG"));
  EXPECT_THAT(reply.outputs(1).contents().bytes_contents(), ElementsAre("stop", "stop", "length"));
  EXPECT_EQ(reply.parameters().at("prompt_tokens").int64_param(), 4 + 3 + 7);
  EXPECT_EQ(reply.parameters().at("completion_tokens").int64_param(), 4 + 3 + 4);
  const wire::GenerationParams asked = router_.requests()[0];
  EXPECT_EQ(asked.sampling.seed, 11u);
  EXPECT_FLOAT_EQ(asked.sampling.temperature, 0.5f);
}

TEST_F(KserveServiceTest, RawContentsComeAndGo) {
  inference::ModelInferRequest request = Ask({"", ""});
  request.mutable_inputs(0)->clear_contents();
  request.add_raw_input_contents(RawElement("abcd") + RawElement("e"));
  auto& stop = *request.add_inputs();
  stop.set_name("stop");
  stop.set_datatype("BYTES");
  stop.add_shape(1);
  request.add_raw_input_contents(RawElement("CD"));
  auto& limit = *request.add_inputs();
  limit.set_name("max_tokens");
  limit.set_datatype("INT64");
  limit.add_shape(1);
  limit.add_shape(1);
  request.add_raw_input_contents(std::string("\x05\0\0\0\0\0\0\0", 8));
  request.add_outputs()->set_name("text_output");
  inference::ModelInferResponse reply;
  const grpc::Status status = Infer(request, reply);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(reply.outputs_size(), 1);
  EXPECT_FALSE(reply.outputs(0).has_contents());
  EXPECT_THAT(reply.raw_output_contents(), ElementsAre(RawElement("AB") + RawElement("E")));
}

TEST_F(KserveServiceTest, TellsWhatIsWrong) {
  const auto wrong = grpc::StatusCode::INVALID_ARGUMENT;
  inference::ModelInferRequest request = Ask({"a"});
  request.set_model_name("other");
  ExpectRefused(request, grpc::StatusCode::NOT_FOUND, "other");
  request = Ask({"a"});
  request.set_model_version("3");
  ExpectRefused(request, grpc::StatusCode::NOT_FOUND, "version 1");
  request = Ask({"a"});
  request.clear_inputs();
  ExpectRefused(request, wrong, "text_input (BYTES) is missing");
  request = Ask({"a"});
  request.mutable_inputs(0)->set_shape(0, 2);
  ExpectRefused(request, wrong, "the shape has 2 elements, the contents 1");
  request.mutable_inputs(0)->set_shape(0, -1);
  ExpectRefused(request, wrong, "the shape [-1]");
  request = Ask({"a"});
  request.mutable_inputs(0)->set_datatype("FP16");
  ExpectRefused(request, wrong, "FP16");
  request = Ask({"a"});
  *request.add_inputs() = request.inputs(0);
  ExpectRefused(request, wrong, "stands twice");
  request = Ask({"a\xFF"});
  ExpectRefused(request, wrong, "not UTF-8 at byte 1");
  request = Ask({"a"});
  (*request.mutable_parameters())["max_token"].set_int64_param(4);
  ExpectRefused(request, wrong, "there is no option 'max_token'");
  request = Ask({"a"});
  (*request.mutable_parameters())["temperature"].set_int64_param(9);
  ExpectRefused(request, wrong, "temperature");
  request = Ask({"a"});
  (*request.mutable_parameters())["max_tokens"].set_int64_param(9000);
  ExpectRefused(request, wrong, "context");
  request = Ask({"a"});
  request.add_outputs()->set_name("logits");
  ExpectRefused(request, wrong, "there is no output 'logits'");
  request = Ask({"a"});
  request.add_raw_input_contents(RawElement("a"));
  ExpectRefused(request, wrong, "raw_input_contents besides");
  request.mutable_inputs(0)->clear_contents();
  request.set_raw_input_contents(0, RawElement("a").substr(0, 3));
  ExpectRefused(request, wrong, "end within an element");
  request.add_raw_input_contents("");
  ExpectRefused(request, wrong, "1 inputs and 2 raw_input_contents");
  EXPECT_TRUE(router_.requests().empty());
}

TEST_F(KserveServiceTest, CancellingEndsTheRequest) {
  router_.HoldAt(2);
  inference::ModelInferRequest request = Ask({"abcdefgh"});
  grpc::ClientContext context;
  inference::ModelInferResponse reply;
  grpc::Status status;
  grpc::CompletionQueue queue;
  const auto call = stub_->AsyncModelInfer(&context, request, &queue);
  call->Finish(&reply, &status, nullptr);
  ASSERT_TRUE(router_.AwaitRequests(1));
  context.TryCancel();
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(router_.AwaitCancels(1));
}

TEST_F(KserveServiceTest, TheEndOfTheServerCutsCalls) {
  router_.HoldAt(2);
  grpc::ClientContext context;
  inference::ModelInferResponse reply;
  grpc::Status status;
  grpc::CompletionQueue queue;
  const auto call = stub_->AsyncModelInfer(&context, Ask({"abcdefgh"}), &queue);
  call->Finish(&reply, &status, nullptr);
  ASSERT_TRUE(router_.AwaitRequests(1));
  server_.reset();
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace tessera::gateway
