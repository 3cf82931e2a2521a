#include "services/router/edge/generation_service.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <map>

#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/generation.grpc.pb.h"
#include "tests/support/router_under_test.h"

namespace tessera::router {
namespace {

using testing::GreedyRequest;
using ::testing::HasSubstr;
using v1::GenerateEvent;

class GenerationServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    router_.loop().Start();
    service_ = std::make_unique<GenerationService>(router_.loop(), router_.board, real_clock_);
    auto server = RpcServer::Start({.stop_timeout = absl::Seconds(2)}, {service_->named()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::Generation::NewStub(*MakeChannel({.address = server_->address()}));
  }
  void TearDown() override {
    router_.experts().Open();
    service_->EndStreams();
    server_->Stop();
  }

  static v1::GenerateRequest Request(const std::string& id, std::vector<TokenId> prompt,
                                     uint32_t tokens_max) {
    v1::GenerateRequest request;
    wire::ToProto(GreedyRequest(id, std::move(prompt), tokens_max), request);
    return request;
  }

  struct Outcome {
    std::vector<TokenId> tokens;
    std::vector<GenerateEvent> events;
    absl::Status status;
    const v1::Finished& finished() const { return events.back().finished(); }
  };
  // Reads a call to its end.
  static Outcome ReadAll(grpc::ClientReader<GenerateEvent>& reader) {
    Outcome outcome;
    GenerateEvent event;
    while (reader.Read(&event)) {
      for (const auto& token : event.tokens().tokens()) outcome.tokens.push_back(token.token_id());
      outcome.events.push_back(event);
    }
    outcome.status = FromGrpc(reader.Finish());
    return outcome;
  }
  Outcome Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    SetTimeout(context, absl::Seconds(30));
    return ReadAll(*stub_->Generate(&context, request));
  }
  bool AwaitIdle() { return router_.loop().AwaitIdle(absl::Seconds(20)); }

  const RealClock real_clock_;
  testing::RouterUnderTest router_;
  std::unique_ptr<GenerationService> service_;
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<v1::Generation::Stub> stub_;
};

TEST_F(GenerationServiceTest, StreamsTokens) {
  const Outcome outcome = Generate(Request("a", {1, 2, 3}, 8));
  EXPECT_EQ(outcome.status, absl::OkStatus());
  EXPECT_EQ(outcome.tokens.size(), 8u);
  ASSERT_GE(outcome.events.size(), 3u);
  EXPECT_EQ(outcome.events.front().started().prompt_tokens(), 3u);
  EXPECT_EQ(outcome.finished().reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(outcome.finished().produced_tokens(), 8u);
}

TEST_F(GenerationServiceTest, ResumesWhereAnotherStopped) {
  const Outcome whole = Generate(Request("a", {1, 2, 3}, 8));
  v1::GenerateRequest request = Request("a", {1, 2, 3}, 8);
  for (size_t i = 0; i < 3; ++i) request.add_produced_token_ids(whole.tokens[i]);
  const Outcome rest = Generate(request);
  EXPECT_EQ(rest.tokens, std::vector<TokenId>(whole.tokens.begin() + 3, whole.tokens.end()));
  EXPECT_EQ(rest.events[1].tokens().first_index(), 3u);
}

TEST_F(GenerationServiceTest, WrongRequestsAreRefusedWithEventAndStatus) {
  const std::pair<v1::GenerateRequest, const char*> cases[] = {
      {Request("", {1}, 1), "request_id"},
      {Request("a", {}, 1), "prompt_token_ids is empty"},
      {Request("a", {96}, 1), "tokens of this model are 0 to 95"},
      {Request("a", std::vector<TokenId>(500, 1), 1), "context of 128"},
      {[] {
         auto request = Request("a", {1}, 1);
         request.mutable_sampling()->set_temperature(3);
         return request;
       }(),
       "temperature is 3, expected 0..2"},
  };
  for (const auto& [request, word] : cases) {
    const Outcome outcome = Generate(request);
    EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument) << word;
    EXPECT_THAT(std::string(outcome.status.message()), HasSubstr(word));
    ASSERT_EQ(outcome.events.size(), 1u);
    EXPECT_EQ(outcome.finished().error_code(), 3u);
  }
}

TEST_F(GenerationServiceTest, AFullRouterTellsWhenToComeBack) {
  router_.experts().Close();
  std::vector<std::shared_ptr<testing::EventReader>> readers;
  const auto fill = [&] {
    auto reader = testing::EventReader::Submit(router_.loop(), GreedyRequest("a", {1, 2}, 2));
    if (reader.ok()) readers.push_back(*reader);
    return reader.ok();
  };
  ASSERT_TRUE(fill());
  router_.experts().AwaitHeld();
  while (fill()) {
  }
  const Outcome outcome = Generate(Request("b", {1, 2}, 2));
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(outcome.finished().retry_after_ms(), 0u);
  router_.experts().Open();
  for (const auto& reader : readers) reader->AwaitFinished();
  EXPECT_EQ(Generate(Request("b", {1, 2}, 2)).status, absl::OkStatus());
}

TEST_F(GenerationServiceTest, AClientThatGoesAwayFreesItsBlocks) {
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(30));
  const auto reader = stub_->Generate(&context, Request("a", {1, 2, 3}, 120));
  GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  router_.experts().Close();
  context.TryCancel();
  while (reader->Read(&event)) {
  }
  EXPECT_FALSE(FromGrpc(reader->Finish()).ok());
  router_.experts().Open();
  EXPECT_TRUE(AwaitIdle());
  router_.loop().Stop();
  EXPECT_EQ(router_.board.Read().kv_used_ratio, 0.0f);
}

TEST_F(GenerationServiceTest, TheDeadlineOfTheCallCounts) {
  router_.experts().Close();
  grpc::ClientContext context;
  SetTimeout(context, absl::Milliseconds(200));
  const auto reader = stub_->Generate(&context, Request("a", {1, 2, 3}, 100));
  const Outcome outcome = ReadAll(*reader);
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kDeadlineExceeded);
  router_.experts().Open();
  EXPECT_TRUE(AwaitIdle());
}

TEST_F(GenerationServiceTest, ASlowReaderHoldsUpNobody) {
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(30));
  v1::GenerateRequest request = Request("slow", {1, 2, 3}, 120);
  request.set_logprobs(90);  // a reply that fills buffers
  const auto slow = stub_->Generate(&context, request);
  EXPECT_EQ(Generate(Request("b", {4}, 5)).tokens.size(), 5u);
  EXPECT_TRUE(AwaitIdle()) << "produced to the end though nobody has read";
  const Outcome outcome = ReadAll(*slow);
  EXPECT_EQ(outcome.status, absl::OkStatus());
  EXPECT_EQ(outcome.tokens.size(), 120u);
}

TEST_F(GenerationServiceTest, CancelNamesTheRequest) {
  router_.experts().Close();
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(30));
  const auto reader = stub_->Generate(&context, Request("a", {1, 2, 3}, 100));
  router_.experts().AwaitHeld();
  const auto cancel = [this](const std::string& id, v1::CancelReply& reply) {
    grpc::ClientContext cancel_context;
    SetTimeout(cancel_context, absl::Seconds(10));
    v1::CancelRequest request;
    request.set_request_id(id);
    return FromGrpc(stub_->Cancel(&cancel_context, request, &reply));
  };
  v1::CancelReply reply;
  EXPECT_TRUE(cancel("b", reply).ok());
  EXPECT_FALSE(reply.was_running());
  EXPECT_EQ(cancel("", reply).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(cancel("a", reply).ok());
  EXPECT_TRUE(reply.was_running());
  router_.experts().Open();
  const Outcome outcome = ReadAll(*reader);
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(outcome.finished().reason(), v1::FINISH_REASON_CANCELLED);
}

TEST_F(GenerationServiceTest, ManyRequestsShareAStream) {
  const Outcome alone = Generate(Request("x", {7}, 6));
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(30));
  const auto stream = stub_->GenerateMany(&context);
  v1::RouterMessage message;
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_TRUE(message.has_load()) << "the load comes first";
  EXPECT_GT(message.load().tokens_free(), 0u);

  v1::GatewayMessage ask;
  for (const char* id : {"a", "b", "c"}) {
    *ask.mutable_generate() = Request(id, {7}, 6);
    ASSERT_TRUE(stream->Write(ask));
  }
  *ask.mutable_generate() = Request("bad", {1000}, 6);
  ASSERT_TRUE(stream->Write(ask));
  *ask.mutable_generate() = Request("endless", {8}, 110);
  ASSERT_TRUE(stream->Write(ask));
  ask.mutable_cancel()->set_request_id("endless");
  ASSERT_TRUE(stream->Write(ask));
  stream->WritesDone();

  std::map<std::string, std::vector<TokenId>> tokens;
  std::map<std::string, v1::Finished> ends;
  size_t loads = 0;
  while (stream->Read(&message)) {
    loads += message.has_load() ? 1 : 0;
    const GenerateEvent& event = message.event();
    EXPECT_FALSE(ends.contains(event.request_id())) << "nothing follows the end";
    for (const auto& token : event.tokens().tokens()) {
      tokens[event.request_id()].push_back(token.token_id());
    }
    if (event.has_finished()) ends[event.request_id()] = event.finished();
  }
  EXPECT_EQ(FromGrpc(stream->Finish()), absl::OkStatus());
  EXPECT_GT(loads, 0u);
  for (const char* id : {"a", "b", "c"}) EXPECT_EQ(tokens[id], alone.tokens) << id;
  EXPECT_EQ(ends["bad"].error_code(), 3u);
  EXPECT_TRUE(ends["endless"].reason() == v1::FINISH_REASON_CANCELLED ||
              ends["endless"].produced_tokens() == 110u);
  EXPECT_EQ(ends.size(), 5u);
}

TEST_F(GenerationServiceTest, AGatewayThatDiesTakesItsRequestsAlong) {
  router_.experts().Close();
  {
    grpc::ClientContext context;
    const auto stream = stub_->GenerateMany(&context);
    v1::GatewayMessage ask;
    *ask.mutable_generate() = Request("a", {7}, 100);
    ASSERT_TRUE(stream->Write(ask));
    router_.experts().AwaitHeld();
    context.TryCancel();
    EXPECT_FALSE(FromGrpc(stream->Finish()).ok());
  }
  router_.experts().Open();
  EXPECT_TRUE(AwaitIdle());
}

TEST_F(GenerationServiceTest, StreamsEndWhenTheRouterDoes) {
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(30));
  const auto stream = stub_->GenerateMany(&context);
  v1::RouterMessage message;
  ASSERT_TRUE(stream->Read(&message));
  router_.loop().Drain();
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(message.load().draining());
  service_->EndStreams();
  while (stream->Read(&message)) {
  }
  EXPECT_EQ(FromGrpc(stream->Finish()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Generate(Request("a", {1}, 1)).status.code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tessera::router
