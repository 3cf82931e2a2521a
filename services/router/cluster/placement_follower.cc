#include "services/router/cluster/placement_follower.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/concurrency/thread.h"
#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/cluster.grpc.pb.h"

namespace tessera::router {

class PlacementFollower::Impl {
 public:
  Impl(PlacementFollowerConfig config, OnPlacement on_placement)
      : config_(std::move(config)), on_placement_(std::move(on_placement)), jitter_(config_.seed) {
    thread_ = Thread("follow", [this](std::stop_token) { Run(); });
  }

  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      if (running_ != nullptr) running_->TryCancel();
    }
    thread_.Stop();
  }

 private:
  void Run() {
    int failures = 0;
    while (!Stopping()) {
      bool heard = false;
      const absl::Status status = Follow(heard);
      failures = heard ? 1 : failures + 1;
      const absl::Duration pause =
          std::min(config_.reconnect_max,
                   config_.reconnect_min * (1 << std::min(failures - 1, 16))) *
          (1 - 0.5 * jitter_.Uniform());
      if (!Stopping() && (failures & (failures - 1)) == 0) {
        TESSERA_LOG(WARNING) << "no placement from the leader " << config_.leader << ", attempt "
                             << failures << ": " << status.ToString()
                             << "; the last one holds, trying again";
      }
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&stopping_), pause);
    }
  }

  bool Stopping() {
    absl::MutexLock lock(&mutex_);
    return stopping_;
  }

  // Makes `context` the one that Stop cancels. False: already stopped.
  bool Enter(grpc::ClientContext* context) {
    absl::MutexLock lock(&mutex_);
    running_ = stopping_ ? nullptr : context;
    return !stopping_;
  }

  // A channel each time: one that failed would wait before it tries again. `heard`: a placement
  // came.
  absl::Status Follow(bool& heard) {
    TESSERA_ASSIGN_OR_RETURN(auto channel, MakeChannel({.address = config_.leader,
                                                        .reconnect_min = absl::Seconds(1),
                                                        .tls = config_.tls}));
    const auto stub = v1::Cluster::NewStub(channel);
    v1::WatchPlacementRequest request;
    const auto greet = [&](const v1::GreetRequest& greeting, v1::GreetReply& reply) {
      grpc::ClientContext context;
      SetTimeout(context, config_.greet_timeout);
      if (!Enter(&context)) return absl::CancelledError("the router stops");
      const absl::Status status = FromGrpc(stub->Greet(&context, greeting, &reply));
      Enter(nullptr);
      return status;
    };
    TESSERA_RETURN_IF_ERROR(Prove(config_.secret, greet, *request.mutable_proof()));
    request.set_known_epoch(known_epoch_);
    grpc::ClientContext context;
    SetTimeout(context, config_.stream_max);
    if (!Enter(&context)) return absl::CancelledError("the router stops");
    const auto stream = stub->WatchPlacement(&context, request);
    v1::PlacementUpdate update;
    absl::Status status;
    while (stream->Read(&update)) {
      auto published = wire::ToPublishedPlacement(update.placement());
      if (!published.ok()) {
        status = Annotate(published.status(), "the leader's placement");
        context.TryCancel();
        break;
      }
      heard = true;
      known_epoch_ = static_cast<uint64_t>(published->placement.epoch());
      on_placement_(std::make_shared<const wire::PublishedPlacement>(*std::move(published)));
    }
    const absl::Status end = FromGrpc(stream->Finish());
    Enter(nullptr);
    return status.ok() ? end : status;
  }

  const PlacementFollowerConfig config_;  // constant after construction
  const OnPlacement on_placement_;
  Random jitter_;             // owned by the thread
  uint64_t known_epoch_ = 0;  // owned by the thread

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
  Thread thread_;
};

PlacementFollower::PlacementFollower(PlacementFollowerConfig config, OnPlacement on_placement)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(on_placement))) {}
PlacementFollower::~PlacementFollower() { Stop(); }
void PlacementFollower::Stop() { impl_->Stop(); }

}  // namespace tessera::router
