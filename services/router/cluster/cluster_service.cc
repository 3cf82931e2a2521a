#include "services/router/cluster/cluster_service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/cluster.grpc.pb.h"

namespace tessera::router {
namespace {

const grpc::Status& Stopping() {
  static const grpc::Status status(grpc::StatusCode::UNAVAILABLE, "the router stops");
  return status;
}

absl::StatusOr<ShardHeartbeat> ToHeartbeat(const v1::HeartbeatRequest& request) {
  // The same rules as for a descriptor, with as many slots as there can be.
  v1::ShardDescriptor described;
  described.set_shard_id(request.shard_id());
  described.set_incarnation(request.incarnation());
  described.set_state(request.state());
  described.set_slot_count(UINT32_MAX);
  *described.mutable_held() = request.held();
  TESSERA_ASSIGN_OR_RETURN(wire::ShardDescriptor shard, wire::ToShardDescriptor(described));
  return ShardHeartbeat{shard.shard,           shard.incarnation,
                        shard.state,           request.held_version(),
                        std::move(shard.held), request.load().busy_ratio(),
                        request.sequence(),    request.load().calls_total()};
}

}  // namespace

class ClusterService::Impl final : public v1::Cluster::CallbackService {
 public:
  Impl(const ClusterServiceConfig& config, ClusterControl& control, const Clock& clock)
      : config_(config), control_(control), keeper_(config.secret, clock) {}

  grpc::ServerUnaryReactor* Greet(grpc::CallbackServerContext* context,
                                  const v1::GreetRequest* request, v1::GreetReply* reply) override {
    return Finish(context, keeper_.Greet(*request, *reply));
  }
  grpc::ServerUnaryReactor* Register(grpc::CallbackServerContext* context,
                                     const v1::RegisterRequest* request,
                                     v1::RegisterReply* reply) override {
    return Finish(context, DoRegister(*request, *reply));
  }
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatReply* reply) override {
    return Finish(context, DoHeartbeat(*request, *reply));
  }
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request, v1::DrainReply* reply) override;
  grpc::ServerWriteReactor<v1::PlacementUpdate>* WatchPlacement(
      grpc::CallbackServerContext* context, const v1::WatchPlacementRequest* request) override;

  grpc::ServerUnaryReactor* ReportRouting(grpc::CallbackServerContext* context,
                                          const v1::ReportRoutingRequest* request,
                                          v1::ReportRoutingReply*) override {
    return Finish(context, DoReport(*request));
  }

  void Announce();
  void EndWatches();
  size_t watcher_count() const {
    absl::MutexLock lock(&mutex_);
    return watchers_.size();
  }

 private:
  class Watcher;

  static grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context,
                                          const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }
  absl::Status DoRegister(const v1::RegisterRequest& request, v1::RegisterReply& reply) {
    TESSERA_RETURN_IF_ERROR(keeper_.Check(request.proof()));
    TESSERA_RETURN_IF_ERROR(control_.CheckLeads());
    TESSERA_ASSIGN_OR_RETURN(const wire::ModelIdentity model,
                             wire::ToModelIdentity(request.model()));
    TESSERA_ASSIGN_OR_RETURN(wire::ShardDescriptor shard, wire::ToShardDescriptor(request.shard()));
    TESSERA_ASSIGN_OR_RETURN(const ClusterControl::Registration registration,
                             control_.Register(model, std::move(shard), request.sequence()));
    reply.set_epoch(static_cast<uint64_t>(registration.epoch));
    reply.set_heartbeat_interval_ms(static_cast<uint32_t>(
        std::max<int64_t>(1, absl::ToInt64Milliseconds(registration.heartbeat_interval))));
    return absl::OkStatus();
  }
  absl::Status DoHeartbeat(const v1::HeartbeatRequest& request, v1::HeartbeatReply& reply) {
    TESSERA_RETURN_IF_ERROR(CheckSeal(request));
    TESSERA_RETURN_IF_ERROR(control_.CheckLeads());
    TESSERA_ASSIGN_OR_RETURN(ShardHeartbeat heartbeat, ToHeartbeat(request));
    TESSERA_ASSIGN_OR_RETURN(const HeartbeatAnswer answer,
                             control_.Heartbeat(std::move(heartbeat)));
    reply.set_epoch(static_cast<uint64_t>(answer.epoch));
    reply.set_held_wanted(answer.held_wanted);
    reply.set_pause_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(answer.pause)));
    return absl::OkStatus();
  }
  absl::Status CheckSeal(const v1::HeartbeatRequest& request) const {
    v1::HeartbeatRequest sealed = request;
    sealed.clear_seal();
    if (request.sequence() > 0 &&
        SealFits(config_.secret, sealed.SerializeAsString(), request.seal())) {
      return absl::OkStatus();
    }
    return absl::UnauthenticatedError(absl::StrCat("the heartbeat of shard ", request.shard_id(),
                                                   " is not sealed with this cluster's secret"));
  }
  absl::Status DoReport(const v1::ReportRoutingRequest& request) {
    TESSERA_RETURN_IF_ERROR(keeper_.Check(request.proof()));
    TESSERA_RETURN_IF_ERROR(control_.CheckLeads());
    std::vector<RoutedLayer> layers;
    for (const v1::LayerRouting& layer : request.layers()) {
      layers.push_back({LayerIndex{layer.layer()},
                        layer.steps(),
                        {layer.rows().begin(), layer.rows().end()},
                        {layer.touches().begin(), layer.touches().end()}});
    }
    return control_.ReportRouting(layers);
  }
  absl::Status CheckDrain(const v1::DrainRequest& request) {
    TESSERA_RETURN_IF_ERROR(keeper_.Check(request.proof()));
    return control_.CheckLeads();
  }

  const ClusterServiceConfig config_;  // constant after construction
  ClusterControl& control_;
  ProofKeeper keeper_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

// One WatchPlacement stream: the newest placement, then each newer one that is there when the last
// write is done. Deletes itself when the stream is over.
class ClusterService::Impl::Watcher final : public grpc::ServerWriteReactor<v1::PlacementUpdate> {
 public:
  Watcher(Impl& service, uint64_t known_epoch) : service_(service), sent_epoch_(known_epoch) {}

  // All of the following under the service's mutex.
  void WriteIfNew() {
    if (writing_ || finished_) return;
    const auto published = service_.control_.Published();
    const auto epoch = static_cast<uint64_t>(published->placement.epoch());
    if (epoch == sent_epoch_) return;
    wire::ToProto(*published, *update_.mutable_placement());
    sent_epoch_ = epoch;
    writing_ = true;
    StartWrite(&update_);
  }
  void End(const grpc::Status& status) {
    if (!std::exchange(finished_, true)) Finish(status);
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&service_.mutex_);
    writing_ = false;
    if (!ok || service_.ended_) return End(Stopping());
    WriteIfNew();
  }
  void OnCancel() override {
    absl::MutexLock lock(&service_.mutex_);
    End(grpc::Status::CANCELLED);
  }
  void OnDone() override {
    {
      absl::MutexLock lock(&service_.mutex_);
      service_.watchers_.erase(this);
    }
    delete this;
  }

 private:
  Impl& service_;
  v1::PlacementUpdate update_;
  uint64_t sent_epoch_;
  bool writing_ = false;
  bool finished_ = false;
};

grpc::ServerUnaryReactor* ClusterService::Impl::Drain(grpc::CallbackServerContext* context,
                                                      const v1::DrainRequest* request,
                                                      v1::DrainReply* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (const absl::Status refused = CheckDrain(*request); !refused.ok()) {
    reactor->Finish(ToGrpc(refused));
    return reactor;
  }
  // The caller may go away meanwhile; request and reply live until Finish all the same.
  control_.Drain(ShardId{request->shard_id()}, request->incarnation(),
                 [reactor, reply](const absl::StatusOr<Epoch>& epoch) {
                   if (epoch.ok()) reply->set_epoch(static_cast<uint64_t>(*epoch));
                   reactor->Finish(ToGrpc(epoch.status()));
                 });
  return reactor;
}

grpc::ServerWriteReactor<v1::PlacementUpdate>* ClusterService::Impl::WatchPlacement(
    grpc::CallbackServerContext*, const v1::WatchPlacementRequest* request) {
  auto* watcher = new Watcher(*this, request->known_epoch());  // deletes itself in OnDone
  absl::Status refused = keeper_.Check(request->proof());
  if (refused.ok()) refused = control_.CheckLeads();
  absl::MutexLock lock(&mutex_);
  watchers_.insert(watcher);
  if (refused.ok() && watchers_.size() > config_.watchers_max) {
    refused = absl::ResourceExhaustedError(
        absl::StrCat(config_.watchers_max, " watch the placement, no more are taken"));
  }
  if (!refused.ok()) {
    watcher->End(ToGrpc(refused));
  } else if (ended_) {
    watcher->End(Stopping());
  } else {
    watcher->WriteIfNew();
  }
  return watcher;
}

void ClusterService::Impl::Announce() {
  absl::MutexLock lock(&mutex_);
  if (ended_) return;
  for (Watcher* watcher : watchers_) watcher->WriteIfNew();
}

void ClusterService::Impl::EndWatches() {
  absl::MutexLock lock(&mutex_);
  ended_ = true;
  for (Watcher* watcher : watchers_) watcher->End(Stopping());
}

ClusterService::ClusterService(const ClusterServiceConfig& config, ClusterControl& control,
                               const Clock& clock)
    : impl_(std::make_unique<Impl>(config, control, clock)) {}
ClusterService::~ClusterService() = default;

NamedService ClusterService::named() {
  return {std::string(v1::Cluster::service_full_name()), impl_.get()};
}
void ClusterService::Announce() { impl_->Announce(); }
void ClusterService::EndWatches() { impl_->EndWatches(); }
size_t ClusterService::watcher_count() const { return impl_->watcher_count(); }

}  // namespace tessera::router
