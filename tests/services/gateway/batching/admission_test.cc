#include "services/gateway/batching/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "services/gateway/api/api_error.h"
#include "tests/support/fake_clock.h"

namespace tessera::gateway {
namespace {

using ::testing::ElementsAre;

class AdmissionTest : public ::testing::Test {
 protected:
  AdmissionRequest Request(const std::string& name, const std::string& key = "",
                           uint32_t tokens = 10, double weight = 1, int32_t priority = 0) {
    AdmissionRequest request;
    request.key = key;
    request.weight = weight;
    request.tokens = tokens;
    request.priority = priority;
    request.start = [this, name, tokens]() -> absl::Status {
      if (!router_.ok()) return router_;
      if (tokens > room_) return absl::ResourceExhaustedError("full");
      room_ -= tokens;
      started_.push_back(name);
      return absl::OkStatus();
    };
    request.refuse = [this, name](const absl::Status& status) { refused_[name] = status.code(); };
    return request;
  }
  void MakeRoom(uint32_t tokens) {
    room_ = tokens;
    admission_.Pump();
  }

  FakeClock clock_;
  Registry registry_;
  Admission admission_{
      {.requests_max = 100, .key_requests_max = 60, .tokens_max = 5000}, clock_, registry_};
  absl::Status router_;
  uint32_t room_ = 0;
  std::vector<std::string> started_;
  std::map<std::string, absl::StatusCode> refused_;
};

TEST_F(AdmissionTest, StartsAtOnceWhenThereIsRoom) {
  room_ = 10;
  EXPECT_EQ(*admission_.Enqueue(Request("a")), 0u);
  EXPECT_GT(*admission_.Enqueue(Request("b")), 0u);
  EXPECT_THAT(started_, ElementsAre("a"));
  EXPECT_EQ(admission_.waiting_count(), 1u);
  MakeRoom(10);
  EXPECT_THAT(started_, ElementsAre("a", "b"));
}

TEST_F(AdmissionTest, KeysShareByWeight) {
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(admission_.Enqueue(Request("heavy", "heavy", 10, 3)).ok());
    ASSERT_TRUE(admission_.Enqueue(Request("light", "light", 10, 1)).ok());
  }
  MakeRoom(400);
  EXPECT_NEAR(static_cast<double>(std::count(started_.begin(), started_.end(), "heavy")), 30, 1);
}

TEST_F(AdmissionTest, AFloodOfOneKeyDoesNotDelayAnother) {
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(admission_.Enqueue(Request("flood", "flood")).ok());
  MakeRoom(20);
  ASSERT_TRUE(admission_.Enqueue(Request("late", "late")).ok());
  MakeRoom(20);
  EXPECT_THAT(started_, testing::Contains("late"));
}

TEST_F(AdmissionTest, ASmallRequestDoesNotPassALargeOne) {
  ASSERT_TRUE(admission_.Enqueue(Request("large", "", 100)).ok());
  ASSERT_TRUE(admission_.Enqueue(Request("small", "", 1)).ok());
  MakeRoom(50);
  EXPECT_TRUE(started_.empty());
  MakeRoom(150);
  EXPECT_THAT(started_, ElementsAre("large", "small"));
}

TEST_F(AdmissionTest, PriorityGoesFirst) {
  ASSERT_TRUE(admission_.Enqueue(Request("usual")).ok());
  ASSERT_TRUE(admission_.Enqueue(Request("urgent", "", 10, 1, -1)).ok());
  MakeRoom(10);
  EXPECT_THAT(started_, ElementsAre("urgent"));
}

TEST_F(AdmissionTest, LimitsRefuseWithATime) {
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(admission_.Enqueue(Request("a", "a")).ok());
  const absl::Status per_key = admission_.Enqueue(Request("a", "a")).status();
  EXPECT_EQ(per_key.code(), absl::StatusCode::kResourceExhausted);
  const ApiError error = ToApiError(per_key);
  EXPECT_EQ(error.code, "queue_full");
  EXPECT_GE(error.retry_after.value_or(absl::ZeroDuration()), absl::Seconds(1));
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(admission_.Enqueue(Request("b", "b")).ok());
  EXPECT_EQ(admission_.Enqueue(Request("c", "c")).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(AdmissionTest, TokensThatWaitAreBounded) {
  ASSERT_TRUE(admission_.Enqueue(Request("huge", "", 6000)).ok());
  EXPECT_EQ(admission_.Enqueue(Request("a")).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(AdmissionTest, TimeEndsWaiting) {
  AdmissionRequest request = Request("short");
  request.deadline = clock_.Elapsed() + absl::Seconds(1);
  ASSERT_TRUE(admission_.Enqueue(std::move(request)).ok());
  ASSERT_TRUE(admission_.Enqueue(Request("long")).ok());
  clock_.Advance(absl::Seconds(1));
  admission_.Tick();
  EXPECT_EQ(refused_["short"], absl::StatusCode::kDeadlineExceeded);
  clock_.Advance(absl::Seconds(120));
  admission_.Tick();
  EXPECT_EQ(refused_["long"], absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(admission_.waiting_count(), 0u);
}

TEST_F(AdmissionTest, CancelledRequestsLeave) {
  const auto number = admission_.Enqueue(Request("a"));
  ASSERT_TRUE(number.ok());
  EXPECT_TRUE(admission_.Cancel(*number));
  EXPECT_FALSE(admission_.Cancel(*number));
  MakeRoom(100);
  EXPECT_TRUE(started_.empty());
}

TEST_F(AdmissionTest, WithoutARouterNewOnesAreRefusedAndOldOnesWait) {
  ASSERT_TRUE(admission_.Enqueue(Request("old")).ok());
  router_ = absl::UnavailableError("no router");
  admission_.Pump();
  EXPECT_EQ(admission_.waiting_count(), 1u);
  router_ = absl::OkStatus();
  MakeRoom(10);
  EXPECT_THAT(started_, ElementsAre("old"));
  router_ = absl::UnavailableError("no router");
  EXPECT_EQ(admission_.Enqueue(Request("new")).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(AdmissionTest, OtherErrorsOfStartAreTold) {
  ASSERT_TRUE(admission_.Enqueue(Request("a")).ok());
  router_ = absl::InvalidArgumentError("wrong");
  admission_.Pump();
  EXPECT_EQ(refused_["a"], absl::StatusCode::kInvalidArgument);
}

TEST_F(AdmissionTest, WhatIsTakenIsToldWhetherItWaitsOrNot) {
  int arrivals = 0;
  admission_.OnArrival([&] {
    ++arrivals;
    admission_.waiting_count();  // no lock is held
  });
  MakeRoom(10);
  ASSERT_TRUE(admission_.Enqueue(Request("starts")).ok());
  EXPECT_EQ(arrivals, 1);
  ASSERT_TRUE(admission_.Enqueue(Request("waits")).ok());
  EXPECT_EQ(arrivals, 2);
  EXPECT_FALSE(admission_.Enqueue(Request("huge", "", 6000)).ok());
  admission_.Drain();
  EXPECT_FALSE(admission_.Enqueue(Request("late")).ok());
  EXPECT_EQ(arrivals, 2) << "what is refused is no arrival";
}

TEST_F(AdmissionTest, DrainRefusesAndServesWhatWaits) {
  ASSERT_TRUE(admission_.Enqueue(Request("a")).ok());
  admission_.Drain();
  const absl::Status refused = admission_.Enqueue(Request("b")).status();
  EXPECT_EQ(ToApiError(refused).code, "draining");
  MakeRoom(10);
  EXPECT_THAT(started_, ElementsAre("a"));
}

}  // namespace
}  // namespace tessera::gateway
