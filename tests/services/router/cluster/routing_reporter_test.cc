#include "services/router/cluster/routing_reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/rpc/rpc_status.h"
#include "common/rpc/server.h"
#include "tests/services/router/cluster/cluster_client.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// The leader's end: remembers what it was told and by whom.
class FakeLeader final : public v1::Cluster::Service {
 public:
  FakeLeader() : proofs_(TestSecret(), clock_) {
    auto server = RpcServer::Start({.stop_timeout = absl::Milliseconds(200)},
                                   {{v1::Cluster::service_full_name(), this}});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::string address() const { return server_->address(); }

  grpc::Status Greet(grpc::ServerContext* context, const v1::GreetRequest* request,
                     v1::GreetReply* reply) override {
    absl::MutexLock lock(&mutex_);
    peers_.insert(context->peer());
    return ToGrpc(proofs_.Greet(*request, *reply));
  }
  grpc::Status ReportRouting(grpc::ServerContext*, const v1::ReportRoutingRequest* request,
                             v1::ReportRoutingReply*) override {
    const absl::Status proven = proofs_.Check(request->proof());
    absl::MutexLock lock(&mutex_);
    if (!proven.ok()) return ToGrpc(proven);
    if (!refusal_.ok()) return ToGrpc(refusal_);
    reports_.push_back(*request);
    return grpc::Status::OK;
  }
  void Refuse(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    refusal_ = status;
  }
  std::vector<v1::ReportRoutingRequest> reports() const {
    absl::MutexLock lock(&mutex_);
    return reports_;
  }
  size_t peer_count() const {
    absl::MutexLock lock(&mutex_);
    return peers_.size();
  }

 private:
  const RealClock clock_;
  ProofKeeper proofs_;
  mutable absl::Mutex mutex_;
  std::vector<v1::ReportRoutingRequest> reports_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> peers_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<RpcServer> server_;
};

ExpertTotals Totals(std::vector<uint64_t> steps) {
  ExpertTotals totals{.shape = {steps.size(), 2}};
  for (uint64_t unit = 0; unit < 2 * steps.size(); ++unit) {
    totals.rows.push_back(10 + unit);
    totals.touches.push_back(unit);
  }
  totals.steps = std::move(steps);
  return totals;
}

class RoutingReporterTest : public ::testing::Test {
 protected:
  absl::Status Report(const ExpertTotals& delta) {
    return reporter_.Report(delta, absl::Seconds(10));
  }
  FakeLeader leader_;
  RoutingReporter reporter_{leader_.address(), TestSecret(), {}};
};

TEST_F(RoutingReporterTest, TellsTheLayersThatHadSteps) {
  ASSERT_TRUE(Report(Totals({0, 7, 0, 3})).ok());
  const auto reports = leader_.reports();
  ASSERT_THAT(reports, SizeIs(1));
  ASSERT_EQ(reports[0].layers_size(), 2);
  const v1::LayerRouting& layer = reports[0].layers(0);
  EXPECT_EQ(layer.layer(), 1u);
  EXPECT_EQ(layer.steps(), 7u);
  EXPECT_THAT(layer.rows(), ElementsAre(12, 13));
  EXPECT_THAT(layer.touches(), ElementsAre(2, 3));
  EXPECT_EQ(reports[0].layers(1).layer(), 3u);
}

TEST_F(RoutingReporterTest, NothingIsToldOfNothing) {
  EXPECT_TRUE(Report(Totals({0, 0})).ok());
  EXPECT_THAT(leader_.reports(), IsEmpty());
  EXPECT_EQ(leader_.peer_count(), 0u);
}

TEST_F(RoutingReporterTest, OneConnectionServesAllReports) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Report(Totals({1})).ok());
  EXPECT_THAT(leader_.reports(), SizeIs(5));
  EXPECT_EQ(leader_.peer_count(), 1u);
}

TEST_F(RoutingReporterTest, ARefusalIsTheCallersAndTheNextReportGoesOut) {
  leader_.Refuse(absl::FailedPreconditionError("somebody else leads"));
  EXPECT_EQ(Report(Totals({1})).code(), absl::StatusCode::kFailedPrecondition);
  leader_.Refuse(absl::OkStatus());
  EXPECT_TRUE(Report(Totals({2})).ok());
}

TEST_F(RoutingReporterTest, WithoutTheSecretNothingIsTold) {
  RoutingReporter stranger(leader_.address(), TestSecret("another one, long enough"), {});
  EXPECT_EQ(stranger.Report(Totals({1}), absl::Seconds(10)).code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(leader_.reports(), IsEmpty());
}

TEST_F(RoutingReporterTest, CancelledItTellsNobodyAnyMore) {
  reporter_.Cancel();
  EXPECT_EQ(Report(Totals({1})).code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(leader_.reports(), IsEmpty());
}

}  // namespace
}  // namespace tessera::router
