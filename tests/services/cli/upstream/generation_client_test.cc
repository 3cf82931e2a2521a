#include "services/cli/upstream/generation_client.h"

#include <gmock/gmock.h>
#include <grpcpp/support/server_callback.h>
#include <gtest/gtest.h>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/rpc/server.h"
#include "tessera/v1/generation.grpc.pb.h"

namespace tessera::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// A router whose tokens are their indexes times ten. Its first lives break off after two tokens.
class FakeRouter final : public v1::Generation::Service {
 public:
  explicit FakeRouter(int lives_broken) : lives_broken_(lives_broken) {}

  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateEvent>* writer) override {
    absl::MutexLock lock(&mutex_);
    requests_.push_back(*request);
    if (request->prompt_token_ids(0) == 99) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "no such token"};
    }
    uint32_t index = static_cast<uint32_t>(request->produced_token_ids_size());
    const bool breaks = static_cast<int>(requests_.size()) <= lives_broken_;
    const uint32_t end = breaks ? index + 2 : request->tokens_max();
    for (; index < end; ++index) {
      v1::GenerateEvent event;
      event.set_request_id(request->request_id());
      event.mutable_tokens()->set_first_index(index);
      event.mutable_tokens()->add_tokens()->set_token_id(static_cast<int32_t>(10 * index));
      writer->Write(event);
    }
    if (breaks) return {grpc::StatusCode::UNAVAILABLE, "going"};
    v1::GenerateEvent event;
    event.set_request_id(request->request_id());
    event.mutable_finished()->set_reason(v1::FINISH_REASON_LENGTH);
    event.mutable_finished()->set_produced_tokens(index);
    writer->Write(event);
    return grpc::Status::OK;
  }
  std::vector<v1::GenerateRequest> requests() {
    absl::MutexLock lock(&mutex_);
    return requests_;
  }

 private:
  const int lives_broken_;
  absl::Mutex mutex_;
  std::vector<v1::GenerateRequest> requests_ ABSL_GUARDED_BY(mutex_);
};

class GenerationClientTest : public ::testing::Test {
 protected:
  absl::StatusOr<wire::FinishedEvent> Run(FakeRouter& router, TokenId prompt) {
    auto server = RpcServer::Start({}, {{v1::Generation::service_full_name(), &router}});
    EXPECT_TRUE(server.ok()) << server.status();
    GenerationClient client([&]() -> absl::StatusOr<std::string> { return (*server)->address(); },
                            {}, clock_);
    wire::GenerationParams params;
    params.request_id = "r";
    params.prompt = {prompt};
    params.tokens_max = 6;
    return client.Run(params, absl::Seconds(20), [this](const wire::TokensEvent& event) {
      for (const wire::TokenOutput& token : event.tokens) tokens_.push_back(token.token);
    });
  }
  const RealClock clock_;
  std::vector<TokenId> tokens_;
};

TEST_F(GenerationClientTest, TokensComeInOrder) {
  FakeRouter router(0);
  const auto finished = Run(router, 1);
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(finished->kind, wire::FinishKind::kLength);
  EXPECT_THAT(tokens_, ElementsAre(0, 10, 20, 30, 40, 50));
}

TEST_F(GenerationClientTest, ARouterThatGoesCostsNoToken) {
  FakeRouter router(2);
  const auto finished = Run(router, 1);
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(finished->produced_tokens, 6u);
  EXPECT_THAT(tokens_, ElementsAre(0, 10, 20, 30, 40, 50));
  ASSERT_THAT(router.requests(), SizeIs(3));
  EXPECT_THAT(router.requests()[2].produced_token_ids(), ElementsAre(0, 10, 20, 30));
}

TEST_F(GenerationClientTest, AnErrorIsNotTriedAgain) {
  FakeRouter router(0);
  EXPECT_EQ(Run(router, 99).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(router.requests(), SizeIs(1));
}

TEST_F(GenerationClientTest, NobodyThereIsUnavailable) {
  GenerationClient client([]() -> absl::StatusOr<std::string> { return "127.0.0.1:1"; }, {},
                          clock_);
  wire::GenerationParams params;
  params.request_id = "r";
  params.prompt = {1};
  const auto finished = client.Run(params, absl::Milliseconds(300), [](const auto&) {});
  EXPECT_FALSE(finished.ok());
}

}  // namespace
}  // namespace tessera::cli
