#include "services/router/cluster/routing_reporter.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/cluster.grpc.pb.h"

namespace tessera::router {
namespace {

v1::ReportRoutingRequest ToRequest(const ExpertTotals& delta) {
  v1::ReportRoutingRequest request;
  const size_t experts = delta.shape.expert_count;
  for (size_t layer = 0; layer < delta.steps.size(); ++layer) {
    if (delta.steps[layer] == 0) continue;
    v1::LayerRouting& entry = *request.add_layers();
    entry.set_layer(static_cast<uint32_t>(layer));
    entry.set_steps(delta.steps[layer]);
    for (size_t e = 0; e < experts; ++e) {
      entry.add_rows(delta.rows[layer * experts + e]);
      entry.add_touches(delta.touches[layer * experts + e]);
    }
  }
  return request;
}

}  // namespace

class RoutingReporter::Impl {
 public:
  Impl(std::string leader, ClusterSecret secret, TlsFiles tls)
      : leader_(std::move(leader)), secret_(std::move(secret)), tls_(std::move(tls)) {}

  absl::Status Report(const ExpertTotals& delta, absl::Duration timeout) {
    v1::ReportRoutingRequest request = ToRequest(delta);
    if (request.layers().empty()) return absl::OkStatus();
    TESSERA_RETURN_IF_ERROR(Connect());
    const auto greet = [&](const v1::GreetRequest& greeting, v1::GreetReply& reply) {
      return Call(timeout, [&](grpc::ClientContext& context) {
        return stub_->Greet(&context, greeting, &reply);
      });
    };
    TESSERA_RETURN_IF_ERROR(Prove(secret_, greet, *request.mutable_proof()));
    v1::ReportRoutingReply reply;
    return Call(timeout, [&](grpc::ClientContext& context) {
      return stub_->ReportRouting(&context, request, &reply);
    });
  }

  void Cancel() {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (running_ != nullptr) running_->TryCancel();
  }

 private:
  // Once: a channel connects again by itself. The TLS files are read here.
  absl::Status Connect() {
    if (stub_ != nullptr) return absl::OkStatus();
    TESSERA_ASSIGN_OR_RETURN(
        auto channel,
        MakeChannel({.address = leader_, .reconnect_min = absl::Seconds(1), .tls = tls_}));
    stub_ = v1::Cluster::NewStub(std::move(channel));
    return absl::OkStatus();
  }
  absl::Status Call(absl::Duration timeout,
                    absl::FunctionRef<grpc::Status(grpc::ClientContext&)> call) {
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    if (!Enter(&context)) return absl::CancelledError("the router stops");
    const absl::Status status = FromGrpc(call(context));
    Enter(nullptr);
    return status;
  }
  bool Enter(grpc::ClientContext* context) {
    absl::MutexLock lock(&mutex_);
    running_ = cancelled_ ? nullptr : context;
    return !cancelled_;
  }

  const std::string leader_;  // constant after construction
  const ClusterSecret secret_;
  const TlsFiles tls_;

  std::unique_ptr<v1::Cluster::Stub> stub_;  // the caller's; null before the first report

  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

RoutingReporter::RoutingReporter(std::string leader, ClusterSecret secret, TlsFiles tls)
    : impl_(std::make_unique<Impl>(std::move(leader), std::move(secret), std::move(tls))) {}
RoutingReporter::~RoutingReporter() = default;
absl::Status RoutingReporter::Report(const ExpertTotals& delta, absl::Duration timeout) {
  return impl_->Report(delta, timeout);
}
void RoutingReporter::Cancel() { impl_->Cancel(); }

}  // namespace tessera::router
