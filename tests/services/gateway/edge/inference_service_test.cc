#include "services/gateway/edge/inference_service.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/base/clock.h"
#include "services/gateway/gateway_server.h"
#include "tessera/v1/inference.grpc.pb.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/tiny_tokenizer.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::StubRouter;
using ::tessera::testing::TinyId;
using ::testing::ElementsAre;

constexpr std::string_view kStory = "Once upon a time.";

class InferenceServiceTest : public ::testing::Test {
 protected:
  InferenceServiceTest() : router_(testing::Storyteller(std::string(kStory))) {
    GatewayConfig config = testing::TinyGateway(folder_.path(), {router_.address()});
    config.grpc_listen = "127.0.0.1:0";
    server_ = *GatewayServer::Start(config, clock_);
    for (const auto& [name, address] : server_->Endpoints()) {
      if (name == "grpc") {
        stub_ = v1::Inference::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
      }
    }
    EXPECT_TRUE(testing::WaitUntil([this] { return server_->ReadinessReasons().empty(); }));
  }
  v1::ChatRequest Chat() {
    v1::ChatRequest request;
    request.set_model("tiny");
    v1::ChatMessage& message = *request.add_messages();
    message.set_role("user");
    message.set_content("Hi");
    return request;
  }

  const testing::TempFolder folder_;
  RealClock clock_;
  StubRouter router_;
  std::unique_ptr<GatewayServer> server_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

TEST_F(InferenceServiceTest, Chats) {
  grpc::ClientContext context;
  const auto stream = stub_->Chat(&context, Chat());
  v1::GenerationReply reply;
  std::string text;
  std::string finish;
  v1::TokenUsage usage;
  while (stream->Read(&reply)) {
    text += reply.text();
    finish += reply.finish_reason();
    if (reply.has_usage()) usage = reply.usage();
  }
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(text, kStory);
  EXPECT_EQ(finish, "stop");
  EXPECT_EQ(usage.completion_tokens(), kStory.size() + 1);
}

TEST_F(InferenceServiceTest, GeneratesTokens) {
  v1::GenerateTokensRequest request;
  request.set_model("tiny");
  request.add_prompt_token_ids(20);
  request.mutable_options()->set_max_tokens(3);
  grpc::ClientContext context;
  const auto stream = stub_->GenerateTokens(&context, request);
  v1::GenerationReply reply;
  std::vector<TokenId> ids;
  while (stream->Read(&reply)) {
    ids.insert(ids.end(), reply.token_ids().begin(), reply.token_ids().end());
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(ids, ElementsAre(TinyId('O'), TinyId('n'), TinyId('c')));
  EXPECT_THAT(router_.requests()[0].prompt, ElementsAre(20));
}

TEST_F(InferenceServiceTest, TellsWhatIsWrong) {
  const auto code = [this](const v1::ChatRequest& request) {
    grpc::ClientContext context;
    const auto stream = stub_->Chat(&context, request);
    v1::GenerationReply reply;
    EXPECT_FALSE(stream->Read(&reply));
    return stream->Finish().error_code();
  };
  v1::ChatRequest request = Chat();
  request.set_model("other");
  EXPECT_EQ(code(request), grpc::StatusCode::NOT_FOUND);
  request = Chat();
  request.mutable_options()->set_temperature(9);
  EXPECT_EQ(code(request), grpc::StatusCode::INVALID_ARGUMENT);
  request = Chat();
  request.add_tools_json("{");
  EXPECT_EQ(code(request), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(InferenceServiceTest, CancellingEndsTheRequest) {
  router_.HoldAt(2);
  grpc::ClientContext context;
  const auto stream = stub_->Chat(&context, Chat());
  v1::GenerationReply reply;
  ASSERT_TRUE(stream->Read(&reply));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(router_.AwaitCancels(1));
}

TEST_F(InferenceServiceTest, AbortEndsByName) {
  router_.HoldAt(2);
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "mine");
  const auto stream = stub_->Chat(&context, Chat());
  v1::GenerationReply reply;
  ASSERT_TRUE(stream->Read(&reply));
  v1::AbortRequest request;
  request.set_request_id("mine");
  v1::AbortReply aborted;
  grpc::ClientContext abort_context;
  ASSERT_TRUE(stub_->Abort(&abort_context, request, &aborted).ok());
  EXPECT_EQ(aborted.aborted(), 1u);
  while (stream->Read(&reply)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(router_.AwaitCancels(1));
}

TEST_F(InferenceServiceTest, TheEndOfTheServerCutsCalls) {
  router_.HoldAt(2);
  grpc::ClientContext context;
  const auto stream = stub_->Chat(&context, Chat());
  v1::GenerationReply reply;
  ASSERT_TRUE(stream->Read(&reply));
  server_.reset();
  while (stream->Read(&reply)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(InferenceServiceTest, TokenizesAndLists) {
  v1::TokenizeRequest request;
  request.set_model("tiny");
  request.set_text("ab");
  v1::TokenizeReply reply;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->Tokenize(&context, request, &reply).ok());
  EXPECT_THAT(reply.token_ids(), ElementsAre(TinyId('a'), TinyId('b')));
  v1::ListModelsReply models;
  grpc::ClientContext list_context;
  ASSERT_TRUE(stub_->ListModels(&list_context, {}, &models).ok());
  ASSERT_EQ(models.models_size(), 1);
  EXPECT_EQ(models.models(0).context_max(), 512u);
}

}  // namespace
}  // namespace tessera::gateway
