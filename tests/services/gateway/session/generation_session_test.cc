#include "services/gateway/session/generation_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "common/concurrency/bounded_queue.h"
#include "services/gateway/api/request_reader.h"
#include "tests/support/stub_router.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_tokenizer.h"

namespace tessera::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::StubRouter;
using testing::TinyId;

constexpr std::string_view kStory = "Once.";

testing::StubRouterOptions Storyteller() {
  testing::StubRouterOptions options;
  options.eos_token = testing::kTinyEos;
  options.token = [](const wire::GenerationParams&, uint32_t index) {
    return index < kStory.size() ? TinyId(kStory[index]) : testing::kTinyEos;
  };
  return options;
}

// Writes down what it is told: "begin 0", "text 0 Once.", "end 0 stop", "done 6", "error 4".
class Diary final : public SessionSink {
 public:
  void OnBegin(uint32_t choice, const PromptReport&, const Usage&) override {
    lines.push_back(absl::StrCat("begin ", choice));
  }
  void OnStep(uint32_t choice, const ChoiceStep& step, const Usage& usage) override {
    for (const OutputEvent& event : step.events) texts[choice] += event.text;
    EXPECT_GE(usage.completion_tokens, produced);
    produced = usage.completion_tokens;
    if (on_step) on_step();
  }
  void OnChoiceEnd(uint32_t choice, const ChoiceEnd& end, const Usage&) override {
    lines.push_back(absl::StrCat("end ", choice, " ", std::string(NameOf(end.reason))));
  }
  void OnEnd(const Usage& usage) override {
    lines.push_back(absl::StrCat("done ", usage.completion_tokens));
    is_over = true;
  }
  void OnError(const absl::Status& status) override {
    lines.push_back(absl::StrCat("error ", absl::StatusCodeToString(status.code())));
    is_over = true;
  }

  std::vector<std::string> lines;
  std::vector<std::string> texts = std::vector<std::string>(4);
  std::function<void()> on_step;
  uint32_t produced = 0;
  bool is_over = false;
};

// The test's thread is the session's, and the ticker.
class GenerationSessionTest : public ::testing::Test {
 protected:
  GenerationSessionTest() {
    testing::WriteTinyText(testing::TinyServedSpec(512), folder_.path());
    model_ = *TextModel::Load({.folder = folder_.path()});
    pool_ = *RouterPool::Open(
        {.addresses = {router_.address()}, .eos_tokens = model_->eos_tokens()}, clock_, registry_);
    pool_->OnRoom([this] { admission_.Pump(); });
  }
  ~GenerationSessionTest() override {
    if (session_ != nullptr) session_->Abort(AbortCause::kClient);
  }

  // Runs what is posted until `condition` holds; false after ten seconds.
  bool RunUntil(absl::FunctionRef<bool()> condition) {
    const absl::Duration end = clock_.Elapsed() + absl::Seconds(10);
    while (!condition() && clock_.Elapsed() < end) {
      pool_->Tick();
      admission_.Tick();
      if (auto task = tasks_.PopFor(absl::Milliseconds(2))) (*task)();
    }
    return condition();
  }
  void AwaitRouter() {
    ASSERT_TRUE(RunUntil([this] { return pool_->NotReadyReasons().empty(); }));
  }
  // Of /v1/completions, without the closing brace.
  absl::Status Start(const std::string& body, std::optional<absl::Duration> timeout = {}) {
    absl::StatusOr<GenerationRequest> request = ReadCompletionRequest(body + "}", {});
    EXPECT_TRUE(request.ok()) << request.status();
    request->timeout = timeout;
    auto prepared = Prepare(*std::move(request), *model_, {}, absl::UnixEpoch());
    EXPECT_TRUE(prepared.ok()) << prepared.status();
    session_ = std::make_shared<GenerationSession>(
        SessionRooms{.config = config_,
                     .model = *model_,
                     .admission = admission_,
                     .pool = *pool_,
                     .limiter = limiter_,
                     .metrics = metrics_,
                     .clock = clock_,
                     .next_call_id = [] { return std::string("call_1"); }},
        *std::move(prepared), key_, "mine", clock_.Elapsed(),
        [this](std::function<void()> task) { ASSERT_TRUE(tasks_.TryPush(std::move(task))); },
        diary_);
    return session_->Start();
  }
  double AbortsOf(AbortCause cause) { return metrics_.aborts[static_cast<size_t>(cause)].value(); }
  double AllAborts() {
    double sum = 0;
    for (const Counter& counter : metrics_.aborts) sum += counter.value();
    return sum;
  }

  const testing::TempFolder folder_;
  const RealClock clock_;
  StubRouter router_{Storyteller()};
  Registry registry_;
  SessionConfig config_;
  Admission admission_{{}, clock_, registry_};
  RateLimiter limiter_{clock_};
  GatewayMetrics metrics_{registry_, "tiny"};
  std::unique_ptr<const TextModel> model_;
  BoundedQueue<std::function<void()>> tasks_{1024};
  Diary diary_;
  std::shared_ptr<const ApiKey> key_;
  std::unique_ptr<RouterPool> pool_;
  std::shared_ptr<GenerationSession> session_;
};

TEST_F(GenerationSessionTest, EveryChoiceBeginsAndEndsOnceAndTheEndComesLast) {
  AwaitRouter();
  ASSERT_TRUE(Start(R"({"prompt":["a","b"],"n":2)").ok());
  ASSERT_TRUE(RunUntil([this] { return diary_.is_over; }));
  const std::vector<std::string>& lines = diary_.lines;
  ASSERT_EQ(lines.size(), 9u);
  for (int choice = 0; choice < 4; ++choice) {
    const auto begin = std::find(lines.begin(), lines.end(), absl::StrCat("begin ", choice));
    const auto end = std::find(lines.begin(), lines.end(), absl::StrCat("end ", choice, " stop"));
    EXPECT_LT(begin, end);
    EXPECT_NE(end, lines.end());
    EXPECT_EQ(diary_.texts[static_cast<size_t>(choice)], kStory);
  }
  EXPECT_EQ(lines.back(), "done 24");  // five bytes and the end, of each
  EXPECT_TRUE(session_->is_over());
  EXPECT_EQ(metrics_.running.value(), 0);
  EXPECT_EQ(metrics_.success[0].value(), 4);
  EXPECT_EQ(AllAborts(), 0);
  EXPECT_EQ(metrics_.prompt_tokens.value(), 4);
  EXPECT_EQ(metrics_.prefix_queries.value(), 4) << "a prompt counts once, not for each choice";
  // Over is over.
  session_->Abort(AbortCause::kClient);
  EXPECT_EQ(AllAborts(), 0);
}

TEST_F(GenerationSessionTest, AnAbortIsSilentAndReachesTheRouter) {
  AwaitRouter();
  router_.HoldAt(2);
  ASSERT_TRUE(Start(R"({"prompt":"a","n":2)").ok());
  ASSERT_TRUE(RunUntil([this] { return diary_.produced == 4; }));
  EXPECT_EQ(metrics_.running.value(), 2);
  session_->Abort(AbortCause::kDeadline);
  session_->Abort(AbortCause::kClient);  // it had ended
  EXPECT_TRUE(router_.AwaitCancels(2));
  EXPECT_THAT(diary_.lines, ElementsAre("begin 0", "begin 1"));
  EXPECT_EQ(AbortsOf(AbortCause::kDeadline), 1);
  EXPECT_EQ(AllAborts(), 1);
  EXPECT_EQ(metrics_.running.value(), 0);
  router_.Release();
  RunUntil([this] { return pool_->running_count() == 0 && tasks_.size() == 0; });
  EXPECT_EQ(diary_.lines.size(), 2u);
  EXPECT_EQ(metrics_.generation_tokens.value(), 4) << "what was produced is counted all the same";
}

TEST_F(GenerationSessionTest, ASinkMayEndItFromWithin) {
  AwaitRouter();
  diary_.on_step = [this] { session_->Abort(AbortCause::kClient); };
  ASSERT_TRUE(Start(R"({"prompt":"a")").ok());
  ASSERT_TRUE(RunUntil([this] { return session_->is_over(); }));
  RunUntil([this] { return pool_->running_count() == 0 && tasks_.size() == 0; });
  EXPECT_THAT(diary_.lines, ElementsAre("begin 0"));
  EXPECT_EQ(AbortsOf(AbortCause::kClient), 1);
}

TEST_F(GenerationSessionTest, AnErrorEndsAllChoicesWithOneWord) {
  AwaitRouter();
  router_.HoldAt(2);
  ASSERT_TRUE(Start(R"({"prompt":"a","n":3)").ok());
  ASSERT_TRUE(RunUntil([this] { return diary_.produced == 6; }));
  session_->Abort(AbortCause::kClient);
  diary_ = {};
  router_.RefuseWith(absl::InvalidArgumentError("no such token"), absl::ZeroDuration());
  ASSERT_TRUE(Start(R"({"prompt":"a","n":3)").ok());
  ASSERT_TRUE(RunUntil([this] { return diary_.is_over; }));
  RunUntil([this] { return pool_->running_count() == 0 && tasks_.size() == 0; });
  EXPECT_THAT(diary_.lines, ElementsAre("error INVALID_ARGUMENT"));
  EXPECT_EQ(AbortsOf(AbortCause::kRefused), 1);
}

TEST_F(GenerationSessionTest, TheShorterTimeCounts) {
  AwaitRouter();
  router_.HoldAt(1);
  config_.request_timeout = absl::Milliseconds(30);
  ASSERT_TRUE(Start(R"({"prompt":"a")", absl::Hours(1)).ok());  // the gateway's
  ASSERT_TRUE(RunUntil([this] { return diary_.is_over; }));
  EXPECT_THAT(diary_.lines, ElementsAre("begin 0", "error DEADLINE_EXCEEDED"));
  diary_ = {};
  config_.request_timeout = absl::Hours(1);
  ASSERT_TRUE(Start(R"({"prompt":"a")", absl::Milliseconds(30)).ok());  // the request's
  ASSERT_TRUE(RunUntil([this] { return diary_.is_over; }));
  EXPECT_THAT(diary_.lines, ElementsAre("begin 0", "error DEADLINE_EXCEEDED"));
  EXPECT_EQ(AbortsOf(AbortCause::kDeadline), 2);
}

TEST_F(GenerationSessionTest, WhatCannotStartIsSaidByStartAlone) {
  // No router was ever up.
  EXPECT_EQ(Start(R"({"prompt":"a","n":2)").code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(session_->is_over());
  EXPECT_EQ(AbortsOf(AbortCause::kRefused), 1);
  // The key may not.
  AwaitRouter();
  key_ = std::make_shared<ApiKey>(ApiKey{.name = "a", .parallel_max = 1});
  ASSERT_TRUE(limiter_.Admit(*key_, 1).ok());
  EXPECT_EQ(Start(R"({"prompt":"a")").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(AbortsOf(AbortCause::kRefused), 2);
  EXPECT_EQ(AllAborts(), 2);
  EXPECT_THAT(diary_.lines, IsEmpty());
  EXPECT_THAT(router_.requests(), IsEmpty());
  EXPECT_EQ(metrics_.running.value(), 0);
}

TEST_F(GenerationSessionTest, AKeyPaysForWhatWasUsed) {
  AwaitRouter();
  key_ = std::make_shared<ApiKey>(
      ApiKey{.name = "a", .tokens_per_minute = 1000, .parallel_max = 1, .priority_min = 3});
  router_.HoldAt(2);
  ASSERT_TRUE(Start(R"({"prompt":"abc","max_tokens":400,"priority":-5)").ok());
  ASSERT_TRUE(RunUntil([this] { return diary_.produced == 2; }));
  EXPECT_EQ(router_.requests()[0].priority, 3) << "no further to the front than its tier";
  const auto remaining = [this] {
    for (const auto& [name, value] : limiter_.HeadersFor(*key_)) {
      if (name == "x-ratelimit-remaining-tokens") return std::stoi(value);
    }
    return -1;
  };
  EXPECT_LE(remaining(),
            610);  // prompt and max_tokens are put aside, a little comes back meanwhile
  session_->Abort(AbortCause::kClient);
  EXPECT_GE(remaining(), 1000 - 4 - 2);  // the prompt and the two tokens that were seen
  EXPECT_TRUE(limiter_.Admit(*key_, 1).ok()) << "its place is free again";
  limiter_.Release(*key_, 1, 0);
}

}  // namespace
}  // namespace tessera::gateway
