#include "services/expert_shard/edge/session_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fake_clock.h"

namespace tessera::expert_shard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SessionTableTest : public ::testing::Test {
 protected:
  static wire::ModelIdentity Model() {
    return {.model_hash = wire::HashText(0xabc),
            .d_model = 64,
            .layer_count = 5,
            .expert_count = 8,
            .expert_width = 24,
            .top_k = 2,
            .expert_dtype = "bf16",
            .kernel_level = "avx2 float32"};
  }
  static SessionRequest Request() {
    return {.model = Model(),
            .frame_version = wire::kFrameVersion,
            .session = 9,
            .credits_wanted = 3,
            .rows_max = 100,
            .strict = true,
            .rows_up = wire::RowDType::kBF16,
            .rows_down = wire::RowDType::kF32};
  }
  // What an honest router says after `grant`.
  static wire::Hello HelloFor(const SessionRequest& request, const SessionGrant& grant) {
    wire::Hello hello;
    hello.session = request.session;
    hello.token = grant.token;
    hello.model_hash = *wire::ToModelHash(request.model.model_hash);
    hello.geometry = {.d_model = 64,
                      .layer_count = 5,
                      .expert_count = 8,
                      .rows_max = grant.rows_max,
                      .pairs_max = 2 * grant.rows_max,
                      .dtype_up = request.rows_up,
                      .dtype_down = request.rows_down,
                      .strict = request.strict};
    hello.credits = grant.credits;
    hello.kernel_level = wire::KernelLevelNumber(request.model.kernel_level);
    return hello;
  }

  FakeClock clock_;
  size_t routers_ = 0;
  SessionTable table_{
      {.model = Model(), .incarnation = 4711, .credits_max = 2, .rows_max = 64, .routers_max = 3},
      clock_,
      [this] { return routers_; }};
};

TEST_F(SessionTableTest, AGreetingOpensWhatWasAgreed) {
  const auto grant = table_.Open(Request());
  ASSERT_TRUE(grant.ok()) << grant.status();
  EXPECT_EQ(grant->credits, 2u);
  EXPECT_EQ(grant->rows_max, 64u);
  const auto answer = table_.Greet(HelloFor(Request(), *grant));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->incarnation, 4711u);
  EXPECT_EQ(answer->credits, 2u);
  EXPECT_EQ(answer->geometry.pairs_max, 128u);
}

TEST_F(SessionTableTest, ATokenServesOnceAndNotForLong) {
  const auto grant = table_.Open(Request());
  const wire::Hello hello = HelloFor(Request(), *grant);
  EXPECT_TRUE(table_.Greet(hello).ok());
  EXPECT_EQ(table_.Greet(hello).status().code(), absl::StatusCode::kUnauthenticated);
  const auto second = table_.Open(Request());
  EXPECT_NE(second->token, grant->token);
  clock_.Advance(absl::Seconds(11));
  EXPECT_EQ(table_.Greet(HelloFor(Request(), *second)).status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(table_.waiting_count(), 0u);
}

TEST_F(SessionTableTest, EachErrorOfOpen) {
  const auto error = [this](auto change) {
    SessionRequest request = Request();
    change(request);
    return table_.Open(request).status();
  };
  const absl::Status version = error([](SessionRequest& r) { r.frame_version = 99; });
  EXPECT_EQ(version.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(version.message(), HasSubstr("99"));
  const absl::Status model = error([](SessionRequest& r) { r.model.d_model = 65; });
  EXPECT_EQ(model.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(model.message(), AllOf(HasSubstr("64"), HasSubstr("65")));
  const absl::Status level = error([](SessionRequest& r) { r.model.kernel_level = "amx fast"; });
  EXPECT_EQ(level.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(level.message(), AllOf(HasSubstr("avx2 float32"), HasSubstr("amx fast")));
  EXPECT_TRUE(error([](SessionRequest& r) {
                r.model.kernel_level = "amx fast";
                r.strict = false;
              }).ok());
  EXPECT_TRUE(error([](SessionRequest& r) { r.model.expert_dtype = ""; }).ok());
  EXPECT_EQ(error([](SessionRequest& r) { r.session = 0; }).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error([](SessionRequest& r) { r.credits_wanted = 0; }).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error([](SessionRequest& r) { r.rows_max = 0; }).code(),
            absl::StatusCode::kInvalidArgument);
  routers_ = 1;  // and two sessions wait
  EXPECT_EQ(error([](SessionRequest&) {}).code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(SessionTableTest, AGreetingThatSaysSomethingElseIsRefusedWithBothValues) {
  const auto refused = [this](auto change) {
    const auto grant = table_.Open(Request());
    wire::Hello hello = HelloFor(Request(), *grant);
    change(hello);
    return table_.Greet(hello).status();
  };
  const absl::Status rows = refused([](wire::Hello& h) { h.geometry.rows_max = 65; });
  EXPECT_EQ(rows.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(rows.message(), AllOf(HasSubstr("64"), HasSubstr("65")));
  const absl::Status session = refused([](wire::Hello& h) { h.session = 10; });
  EXPECT_THAT(session.message(), AllOf(HasSubstr("9"), HasSubstr("10")));
  EXPECT_FALSE(refused([](wire::Hello& h) { h.model_hash[0] ^= 1; }).ok());
  EXPECT_FALSE(refused([](wire::Hello& h) { h.kernel_level ^= 1; }).ok());
  EXPECT_FALSE(refused([](wire::Hello& h) { h.geometry.strict = false; }).ok());
  EXPECT_EQ(refused([](wire::Hello& h) { h.token[3] ^= 1; }).code(),
            absl::StatusCode::kUnauthenticated);
}

}  // namespace
}  // namespace tessera::expert_shard
