#include "services/gateway/upstream/router_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "tests/support/fake_clock.h"
#include "tests/support/stub_router.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::StubRouter;
using ::tessera::testing::StubRouterOptions;

// What a callback got. The pool may call on when this is gone: a test may end in a stream's middle.
class Collected {
 public:
  TokenCallback Callback() {
    return [state = state_](wire::TokenEvent event) {
      absl::MutexLock lock(&state->mutex);
      EXPECT_FALSE(state->finished.has_value()) << "an event after the end";
      if (auto* tokens = std::get_if<wire::TokensEvent>(&event.event)) {
        EXPECT_EQ(tokens->first_index, state->tokens.size());
        for (const wire::TokenOutput& token : tokens->tokens) state->tokens.push_back(token.token);
      } else if (auto* finished = std::get_if<wire::FinishedEvent>(&event.event)) {
        state->finished = *finished;
      } else {
        ++state->started;
      }
    };
  }
  bool AwaitTokens(size_t count) {
    absl::MutexLock lock(&state_->mutex);
    const auto enough = [&] { return state_->tokens.size() >= count; };
    return state_->mutex.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(10));
  }
  wire::FinishedEvent AwaitEnd() {
    absl::MutexLock lock(&state_->mutex);
    const auto ended = [&] { return state_->finished.has_value(); };
    EXPECT_TRUE(state_->mutex.AwaitWithTimeout(absl::Condition(&ended), absl::Seconds(10)));
    return state_->finished.value_or(wire::FinishedEvent());
  }
  std::vector<TokenId> tokens() {
    absl::MutexLock lock(&state_->mutex);
    return state_->tokens;
  }
  int started() {
    absl::MutexLock lock(&state_->mutex);
    return state_->started;
  }

 private:
  struct State {
    absl::Mutex mutex;
    std::vector<TokenId> tokens;
    int started = 0;
    std::optional<wire::FinishedEvent> finished;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

class RouterPoolTest : public ::testing::Test {
 protected:
  void Open(std::vector<std::string> addresses) {
    config_.addresses = std::move(addresses);
    auto pool = RouterPool::Open(config_, clock_, registry_);
    ASSERT_TRUE(pool.ok()) << pool.status();
    pool_ = *std::move(pool);
    pool_->OnRoom([this] {
      absl::MutexLock lock(&mutex_);
      ++changes_;
    });
    AwaitUp(config_.addresses.size());
  }
  size_t UpCount() {
    size_t up = 0;
    for (const RouterStatus& status : pool_->Snapshot()) up += status.is_up;
    return up;
  }
  // Until so many requests have lost their router, which is a moment after it is down.
  void AwaitWaiting(size_t count) {
    EXPECT_TRUE(testing::WaitUntil([&] { return pool_->waiting_count() == count; }));
  }
  // Until the pool has heard what `say` lets a router say. Asks the pool nothing.
  void AwaitReport(absl::FunctionRef<void()> say) {
    int before = 0;
    {
      absl::MutexLock lock(&mutex_);
      before = changes_;
    }
    say();
    absl::MutexLock lock(&mutex_);
    const auto changed = [&] { return changes_ != before; };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&changed), absl::Seconds(10)));
  }
  // Ticks until so many routers are up; waits for what the pool tells in between.
  void AwaitUp(size_t count) {
    for (int i = 0; i < 2000 && UpCount() != count; ++i) {
      pool_->Tick();
      absl::MutexLock lock(&mutex_);
      const int before = changes_;
      const auto changed = [&] { return changes_ != before; };
      mutex_.AwaitWithTimeout(absl::Condition(&changed), absl::Milliseconds(5));
      clock_.Advance(absl::Milliseconds(10));
    }
    ASSERT_EQ(UpCount(), count);
  }
  PoolRequest Request(Collected& collected, uint32_t tokens_max = 10,
                      std::vector<TokenId> prompt = {1, 2, 3}) {
    PoolRequest request;
    request.params.request_id = "mine";
    request.params.prompt = std::move(prompt);
    request.params.tokens_max = tokens_max;
    request.cost_tokens = tokens_max + static_cast<uint32_t>(request.params.prompt.size());
    request.callback = collected.Callback();
    return request;
  }
  std::vector<TokenId> Expected(uint32_t count, size_t prompt_size = 3) {
    wire::GenerationParams params;
    params.prompt.resize(prompt_size);
    std::vector<TokenId> tokens;
    for (uint32_t i = 0; i < count; ++i) tokens.push_back(StubRouterOptions().token(params, i));
    return tokens;
  }

  FakeClock clock_;
  Registry registry_;
  absl::Mutex mutex_;
  int changes_ = 0;
  RouterPoolConfig config_;
  std::unique_ptr<RouterPool> pool_;
};

TEST_F(RouterPoolTest, GeneratesOnOneRouter) {
  StubRouter router;
  Open({router.address()});
  Collected collected;
  ASSERT_TRUE(pool_->Submit(Request(collected)).ok());
  EXPECT_EQ(collected.AwaitEnd().kind, wire::FinishKind::kLength);
  EXPECT_EQ(collected.tokens(), Expected(10));
  EXPECT_EQ(collected.started(), 1);
  EXPECT_TRUE(router.requests()[0].sampling.seed.has_value());
  EXPECT_EQ(pool_->running_count(), 0u);
}

TEST_F(RouterPoolTest, WithoutRoutersIsUnavailable) {
  StubRouter router;
  router.Die();
  config_.addresses = {router.address()};
  pool_ = *RouterPool::Open(config_, clock_, registry_);
  Collected collected;
  EXPECT_EQ(pool_->Submit(Request(collected)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(pool_->NotReadyReasons(), ::testing::ElementsAre("no router is connected"));
  EXPECT_EQ(RouterPool::Open({}, clock_, registry_).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(RouterPoolTest, CancelReachesTheRouter) {
  StubRouter router;
  router.HoldAt(4);
  Open({router.address()});
  Collected collected;
  const auto number = pool_->Submit(Request(collected));
  ASSERT_TRUE(number.ok());
  ASSERT_TRUE(collected.AwaitTokens(4));
  pool_->Cancel(*number);
  EXPECT_TRUE(router.AwaitCancels(1));
  EXPECT_EQ(pool_->running_count(), 0u);
}

TEST_F(RouterPoolTest, ARouterThatDiesIsReplacedByAnother) {
  StubRouter first;
  StubRouter second;
  first.HoldAt(4);
  second.HoldAt(4);
  Open({first.address(), second.address()});
  Collected collected;
  ASSERT_TRUE(pool_->Submit(Request(collected)).ok());
  ASSERT_TRUE(collected.AwaitTokens(4));
  StubRouter& used = first.requests().empty() ? second : first;
  StubRouter& other = first.requests().empty() ? first : second;
  other.Release();
  used.Die();
  EXPECT_EQ(collected.AwaitEnd().kind, wire::FinishKind::kLength);
  EXPECT_EQ(collected.tokens(), Expected(10));
  EXPECT_EQ(collected.started(), 1);
  ASSERT_EQ(other.requests().size(), 1u);
  EXPECT_EQ(other.requests()[0].produced, Expected(4));
  EXPECT_EQ(other.requests()[0].sampling.seed, used.requests()[0].sampling.seed);
}

TEST_F(RouterPoolTest, ManyRequestsGoOnWhenTheRouterComesBack) {
  StubRouter router;
  router.HoldAt(5);
  Open({router.address()});
  std::vector<std::unique_ptr<Collected>> all;
  for (size_t i = 0; i < 32; ++i) {
    all.push_back(std::make_unique<Collected>());
    ASSERT_TRUE(pool_->Submit(Request(*all.back(), 20, std::vector<TokenId>(i + 1, 1))).ok());
  }
  for (const auto& one : all) ASSERT_TRUE(one->AwaitTokens(5));
  router.Die();
  AwaitUp(0);
  AwaitWaiting(32);
  router.Release();
  router.Revive();
  AwaitUp(1);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]->AwaitEnd().kind, wire::FinishKind::kLength);
    EXPECT_EQ(all[i]->tokens(), Expected(20, i + 1));
  }
}

TEST_F(RouterPoolTest, ADrainingRouterGetsNothingNewAndItsRequestsMove) {
  StubRouter first;
  StubRouter second;
  first.HoldAt(4);
  second.HoldAt(4);
  Open({first.address(), second.address()});
  Collected collected;
  ASSERT_TRUE(pool_->Submit(Request(collected)).ok());
  ASSERT_TRUE(collected.AwaitTokens(4));
  StubRouter& used = first.requests().empty() ? second : first;
  StubRouter& other = first.requests().empty() ? first : second;
  other.Release();
  used.Drain();
  EXPECT_EQ(collected.AwaitEnd().kind, wire::FinishKind::kLength);
  EXPECT_EQ(collected.tokens(), Expected(10));
  Collected later;
  ASSERT_TRUE(pool_->Submit(Request(later)).ok());
  later.AwaitEnd();
  EXPECT_EQ(used.requests().size(), 1u);
  EXPECT_EQ(other.requests().size(), 2u);
}

TEST_F(RouterPoolTest, ARouterThatIsNotReadyIsAskedLast) {
  config_.unready_after = absl::ZeroDuration();
  StubRouter a;
  StubRouter b;
  Open({a.address(), b.address()});
  EXPECT_TRUE(pool_->NotReadyReasons().empty());
  const auto reasons_of = [this](size_t router) {
    return pool_->Snapshot()[router].report.not_ready.size();
  };
  b.SayNotReady({"experts are gone"});
  ASSERT_TRUE(testing::WaitUntil([&] { return reasons_of(1) == 1; }));
  EXPECT_TRUE(pool_->NotReadyReasons().empty());
  // Each prompt has a router that it prefers; all go to the one that is ready.
  std::vector<Collected> collected(16);
  for (TokenId i = 0; i < 8; ++i) {
    ASSERT_TRUE(pool_->Submit(Request(collected[static_cast<size_t>(i)], 3, {i, 7, 7})).ok());
  }
  ASSERT_TRUE(a.AwaitRequests(8));
  EXPECT_EQ(b.requests().size(), 0u);
  // While none is, they wait at routers.
  a.SayNotReady({"experts are gone", "the engine stands still"});
  ASSERT_TRUE(testing::WaitUntil([&] { return reasons_of(0) == 2; }));
  EXPECT_THAT(
      pool_->NotReadyReasons(),
      ::testing::ElementsAre(absl::StrCat("router ", a.address(), ": experts are gone"),
                             absl::StrCat("router ", a.address(), ": the engine stands still"),
                             absl::StrCat("router ", b.address(), ": experts are gone")));
  for (TokenId i = 8; i < 16; ++i) {
    ASSERT_TRUE(pool_->Submit(Request(collected[static_cast<size_t>(i)], 3, {i, 7, 7})).ok());
  }
  for (Collected& each : collected) each.AwaitEnd();
  a.Die();
  b.Die();
  AwaitUp(0);
  EXPECT_THAT(pool_->NotReadyReasons(), ::testing::ElementsAre("no router is connected"));
}

TEST_F(RouterPoolTest, ARouterWhoseExpertsJustWentIsStillReady) {
  StubRouter router;
  router.SayNotReady({"experts are not there yet"});
  Open({router.address()});
  EXPECT_FALSE(pool_->NotReadyReasons().empty()) << "they never were there";
  const auto reasons = [this] { return pool_->Snapshot()[0].report.not_ready.size(); };
  router.SayNotReady({});
  ASSERT_TRUE(testing::WaitUntil([&] { return reasons() == 0; }));
  clock_.Advance(absl::Seconds(60));
  router.SayNotReady({"experts are gone"});
  ASSERT_TRUE(testing::WaitUntil([&] { return reasons() == 1; }));
  clock_.Advance(config_.unready_after - absl::Milliseconds(1));
  EXPECT_TRUE(pool_->NotReadyReasons().empty()) << "they may be back soon";
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(pool_->NotReadyReasons().size(), 1u);
}

TEST_F(RouterPoolTest, ALostEndIsKnownWithoutARouter) {
  StubRouterOptions options;
  options.eos_token = Expected(3)[2];
  StubRouter router(options);
  config_.eos_tokens = {options.eos_token};
  router.HoldAt(3);
  Open({router.address()});
  Collected length;
  ASSERT_TRUE(pool_->Submit(Request(length, 3, {1, 2})).ok());
  EXPECT_EQ(length.AwaitEnd().kind, wire::FinishKind::kLength);
  // The router that stops after the end token, but dies before it says so, is one that holds on
  // although it produced it: a request that ignores no end, on a router that knows of none.
  StubRouter unaware;
  unaware.HoldAt(3);
  Open({unaware.address()});
  Collected stopped;
  ASSERT_TRUE(pool_->Submit(Request(stopped)).ok());
  ASSERT_TRUE(stopped.AwaitTokens(3));
  unaware.Die();
  EXPECT_EQ(stopped.AwaitEnd().kind, wire::FinishKind::kStop);
  EXPECT_EQ(stopped.tokens(), Expected(3));
}

TEST_F(RouterPoolTest, BudgetsAndTheirEnd) {
  StubRouterOptions options;
  options.tokens_free = 30;
  StubRouter router(options);
  router.HoldAt(2);
  Open({router.address()});
  Collected first;
  Collected second;
  Collected third;
  ASSERT_TRUE(pool_->Submit(Request(first)).ok());
  ASSERT_TRUE(pool_->Submit(Request(second)).ok());
  EXPECT_EQ(pool_->Submit(Request(third)).status().code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(first.AwaitTokens(2));
  ASSERT_TRUE(second.AwaitTokens(2));
  router.Announce(13);
  absl::StatusOr<uint64_t> number;
  for (int i = 0; i < 1000 && !number.ok(); ++i) {
    absl::MutexLock lock(&mutex_);
    const auto never = [] { return false; };
    mutex_.AwaitWithTimeout(absl::Condition(&never), absl::Milliseconds(5));
    number = pool_->Submit(Request(third));
  }
  EXPECT_TRUE(number.ok());
}

TEST_F(RouterPoolTest, AnIdleRouterTakesMoreThanItsBudget) {
  StubRouterOptions options;
  options.tokens_free = 5;
  StubRouter router(options);
  Open({router.address()});
  Collected collected;
  ASSERT_TRUE(pool_->Submit(Request(collected)).ok());
  EXPECT_EQ(collected.AwaitEnd().kind, wire::FinishKind::kLength);
}

TEST_F(RouterPoolTest, ARefusalIsTriedAgainAfterItsPause) {
  StubRouter router;
  router.RefuseWith(absl::ResourceExhaustedError("full"), absl::Seconds(3));
  Open({router.address()});
  Collected collected;
  ASSERT_TRUE(pool_->Submit(Request(collected)).ok());
  ASSERT_TRUE(router.AwaitRequests(1));
  router.RefuseWith(absl::OkStatus(), absl::ZeroDuration());
  while (pool_->waiting_count() == 0) pool_->Tick();
  pool_->Tick();
  EXPECT_EQ(router.requests().size(), 1u);
  clock_.Advance(absl::Seconds(3));
  pool_->Tick();
  EXPECT_EQ(collected.AwaitEnd().kind, wire::FinishKind::kLength);
}

TEST_F(RouterPoolTest, OtherErrorsAreTheAnswer) {
  StubRouter router;
  router.RefuseWith(absl::InvalidArgumentError("token 7 is not below 5"), absl::ZeroDuration());
  Open({router.address()});
  Collected collected;
  ASSERT_TRUE(pool_->Submit(Request(collected)).ok());
  EXPECT_EQ(collected.AwaitEnd().error.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(RouterPoolTest, DeadlinesAndGivingUp) {
  StubRouter router;
  router.HoldAt(2);
  Open({router.address()});
  Collected late;
  PoolRequest request = Request(late);
  request.deadline = clock_.Elapsed() + absl::Seconds(5);
  ASSERT_TRUE(pool_->Submit(std::move(request)).ok());
  Collected forsaken;
  ASSERT_TRUE(pool_->Submit(Request(forsaken)).ok());
  ASSERT_TRUE(late.AwaitTokens(2));
  ASSERT_TRUE(forsaken.AwaitTokens(2));
  EXPECT_EQ(router.requests()[0].deadline, absl::Seconds(5));
  clock_.Advance(absl::Seconds(5));
  pool_->Tick();
  EXPECT_EQ(late.AwaitEnd().error.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(router.AwaitCancels(1));
  router.Die();
  AwaitUp(0);
  AwaitWaiting(1);  // its time begins when it has lost its router
  clock_.Advance(config_.resume_timeout);
  pool_->Tick();
  EXPECT_EQ(forsaken.AwaitEnd().error.code(), absl::StatusCode::kUnavailable);
}

// The router answers each cancel with an end. Here all of them are there before the second request
// is told.
TEST_F(RouterPoolTest, ALateRequestIsNotSentAgain) {
  StubRouter router;
  router.HoldAt(0);
  Open({router.address()});
  constexpr size_t kRequests = 4;
  std::vector<Collected> late(kRequests);
  bool waited = false;
  for (Collected& each : late) {
    PoolRequest request = Request(each);
    request.deadline = clock_.Elapsed() + absl::Seconds(5);
    request.callback = [&, tell = each.Callback()](wire::TokenEvent event) {
      if (std::holds_alternative<wire::FinishedEvent>(event.event) &&
          !std::exchange(waited, true)) {
        EXPECT_TRUE(router.AwaitCancels(kRequests));
        AwaitReport([&] { router.Announce(1234); });  // which comes behind the ends
      }
      tell(std::move(event));
    };
    ASSERT_TRUE(pool_->Submit(std::move(request)).ok());
  }
  ASSERT_TRUE(router.AwaitRequests(kRequests));
  clock_.Advance(absl::Seconds(5));
  pool_->Tick();
  for (Collected& each : late) {
    EXPECT_EQ(each.AwaitEnd().error.code(), absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(waited);
  EXPECT_EQ(pool_->running_count(), 0u);
  Collected after;
  ASSERT_TRUE(pool_->Submit(Request(after, 7)).ok());  // behind whatever was sent
  ASSERT_TRUE(testing::WaitUntil([&] { return router.requests().back().tokens_max == 7; }));
  EXPECT_EQ(router.requests().size(), kRequests + 1);
  EXPECT_EQ(router.running_count(), 1u);
}

TEST_F(RouterPoolTest, APrefixStaysWithItsRouterUntilItIsFull) {
  StubRouter first;
  StubRouter second;
  Open({first.address(), second.address()});
  for (int i = 0; i < 6; ++i) {
    Collected collected;
    ASSERT_TRUE(pool_->Submit(Request(collected, 2, std::vector<TokenId>(100, 5))).ok());
    collected.AwaitEnd();
  }
  EXPECT_EQ(first.requests().size() * second.requests().size(), 0u);
  first.HoldAt(1);
  second.HoldAt(1);
  std::vector<std::unique_ptr<Collected>> all;
  for (int i = 0; i < 30; ++i) {
    all.push_back(std::make_unique<Collected>());
    ASSERT_TRUE(pool_->Submit(Request(*all.back(), 2, std::vector<TokenId>(100, 5))).ok());
  }
  for (const auto& one : all) ASSERT_TRUE(one->AwaitTokens(1));
  EXPECT_GT(first.requests().size(), 6u);
  EXPECT_GT(second.requests().size(), 6u);
}

}  // namespace
}  // namespace tessera::gateway
