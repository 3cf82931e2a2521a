#include "services/expert_shard/edge/peer_units.h"

#include <gmock/gmock.h>
#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/concurrency/thread.h"
#include "common/rpc/rpc_status.h"
#include "common/rpc/server.h"
#include "common/wire/crc32c.h"
#include "tessera/v1/expert.grpc.pb.h"

namespace tessera::expert_shard {
namespace {

using ::testing::HasSubstr;

constexpr ExpertUnit kUnit{LayerIndex{2}, ExpertId{7}};
constexpr uint64_t kVersion = 99;
constexpr size_t kChunkBytes = 1000;

// A shard that has every unit, and spoils what it sends.
class SpoilingPeer final : public v1::ExpertShard::Service {
 public:
  // Changes chunk `index` before it goes out; what it returns, if not OK, ends the stream.
  using Spoil = std::function<grpc::Status(size_t index, v1::UnitChunk& chunk)>;

  SpoilingPeer(std::vector<std::byte> unit, Spoil spoil)
      : unit_(std::move(unit)), spoil_(std::move(spoil)) {
    auto server = RpcServer::Start({.stop_timeout = absl::Milliseconds(100)},
                                   {{v1::ExpertShard::service_full_name(), this}});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~SpoilingPeer() override { Stop(); }

  std::string address() const { return server_->address(); }
  void Stop() { server_->Stop(); }

  grpc::Status Greet(grpc::ServerContext*, const v1::GreetRequest* request,
                     v1::GreetReply* reply) override {
    return ToGrpc(proofs_.Greet(*request, *reply));
  }
  grpc::Status FetchUnit(grpc::ServerContext* context, const v1::FetchUnitRequest* request,
                         grpc::ServerWriter<v1::UnitChunk>* writer) override {
    EXPECT_TRUE(proofs_.Check(request->proof()).ok());
    EXPECT_EQ(request->layer(), ToIndex(kUnit.layer));
    EXPECT_EQ(request->expert(), ToIndex(kUnit.expert));
    EXPECT_EQ(request->weights_version(), kVersion);
    for (size_t at = 0; at < unit_.size() && !context->IsCancelled(); at += kChunkBytes) {
      const auto bytes = std::span(unit_).subspan(at, std::min(kChunkBytes, unit_.size() - at));
      v1::UnitChunk chunk;
      chunk.set_data(bytes.data(), bytes.size());
      chunk.set_crc32c(wire::Crc32c(bytes));
      const grpc::Status status = spoil_(at / kChunkBytes, chunk);
      if (!status.ok()) return status;
      writer->Write(chunk);
    }
    return grpc::Status::OK;
  }

 private:
  const std::vector<std::byte> unit_;
  const Spoil spoil_;
  const RealClock clock_;
  ProofKeeper proofs_{ClusterSecret(), clock_};
  std::unique_ptr<RpcServer> server_;
};

class PeerUnitsTest : public ::testing::Test {
 protected:
  PeerUnitsTest() : unit_(10 * kChunkBytes + 1), bytes_(unit_.size()) {
    for (size_t i = 0; i < unit_.size(); ++i) unit_[i] = static_cast<std::byte>(i * 7 + i / 256);
  }
  absl::Status FetchFrom(SpoilingPeer::Spoil spoil) {
    SpoilingPeer peer(unit_, std::move(spoil));
    return peers_.Fetch(peer.address(), kUnit, kVersion, bytes_);
  }

  std::vector<std::byte> unit_;
  std::vector<std::byte> bytes_;
  PeerUnits peers_{ClusterSecret(), {}, /*patience=*/absl::Seconds(10)};
};

TEST_F(PeerUnitsTest, WhatComesWholeIsTaken) {
  const absl::Status status = FetchFrom([](size_t, v1::UnitChunk&) { return grpc::Status::OK; });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(bytes_, unit_);
}

TEST_F(PeerUnitsTest, AFlippedBitIsFoundInWhicheverChunk) {
  for (const size_t spoiled : {0, 4, 10}) {
    const absl::Status status = FetchFrom([spoiled](size_t index, v1::UnitChunk& chunk) {
      if (index == spoiled) (*chunk.mutable_data())[0] ^= 0x10;
      return grpc::Status::OK;
    });
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(status.message(), HasSubstr("checksum"));
  }
}

TEST_F(PeerUnitsTest, TooFewBytesOrTooManyAreNoUnit) {
  const absl::Status few = FetchFrom([](size_t index, v1::UnitChunk& chunk) {
    if (index == 10) chunk = v1::UnitChunk();
    return grpc::Status::OK;
  });
  EXPECT_EQ(few.code(), absl::StatusCode::kDataLoss);
  unit_.push_back({});
  const absl::Status many = FetchFrom([](size_t, v1::UnitChunk&) { return grpc::Status::OK; });
  EXPECT_EQ(many.code(), absl::StatusCode::kDataLoss);
}

TEST_F(PeerUnitsTest, APeerThatEndsInTheMiddleSaysWhy) {
  const absl::Status damaged = FetchFrom([](size_t index, v1::UnitChunk&) {
    return index < 5 ? grpc::Status::OK
                     : grpc::Status(grpc::StatusCode::DATA_LOSS, "its file was cut, too");
  });
  EXPECT_EQ(damaged.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(damaged.message(), HasSubstr("its file was cut, too"));
}

TEST_F(PeerUnitsTest, APeerThatGoesOrHangsInTheMiddleIsGivenUp) {
  for (const bool goes : {true, false}) {
    absl::Notification reached;
    absl::Notification given_up;
    SpoilingPeer peer(unit_, [&](size_t index, v1::UnitChunk&) {
      if (index == 5 && !given_up.HasBeenNotified()) {
        reached.Notify();
        given_up.WaitForNotification();
      }
      return grpc::Status::OK;
    });
    Thread stopping("stopping", [&](const std::stop_token&) {
      reached.WaitForNotification();
      if (goes) peer.Stop();
    });
    PeerUnits peers(ClusterSecret(), {}, absl::Seconds(goes ? 60 : 2));
    const absl::Status status = peers.Fetch(peer.address(), kUnit, kVersion, bytes_);
    given_up.Notify();
    if (!reached.HasBeenNotified()) reached.Notify();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(absl::IsDeadlineExceeded(status), !goes) << status;
  }
}

TEST_F(PeerUnitsTest, StopEndsWhatRuns) {
  absl::Notification given_up;
  PeerUnits peers(ClusterSecret(), {}, absl::Seconds(60));
  SpoilingPeer peer(unit_, [&](size_t index, v1::UnitChunk&) {
    if (index == 5) {
      peers.Stop();
      given_up.WaitForNotification();
    }
    return grpc::Status::OK;
  });
  const absl::Status status = peers.Fetch(peer.address(), kUnit, kVersion, bytes_);
  given_up.Notify();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  EXPECT_EQ(peers.Fetch(peer.address(), kUnit, kVersion, bytes_).code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace tessera::expert_shard
