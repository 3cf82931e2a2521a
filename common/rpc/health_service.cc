#include "common/rpc/health_service.h"

#include <utility>

namespace tessera {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One Watch stream: writes the state, then each change. At most one write is under way; what
// changes meanwhile is seen after it. Deletes itself when the stream is over.
class HealthService::Watcher final : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  Watcher(HealthService& health, std::string service)
      : health_(health), service_(std::move(service)) {}

  // All of the following under the service's mutex.
  void WriteIfChanged() {
    if (writing_ || finished_) return;
    const auto status = health_.StatusOf(service_);
    if (written_ && response_.status() == status) return;
    response_.set_status(status);
    written_ = true;
    writing_ = true;
    StartWrite(&response_);
  }
  void End(const grpc::Status& status) {
    if (!std::exchange(finished_, true)) Finish(status);
  }
  // The server stops: behind the last change, which may have to wait for the write under way.
  void EndWhenTold() {
    WriteIfChanged();
    if (!writing_) End(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server stops"));
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&health_.mutex_);
    writing_ = false;
    if (!ok) {
      End(grpc::Status::CANCELLED);
    } else if (health_.watches_ended_) {
      EndWhenTold();
    } else {
      WriteIfChanged();
    }
  }
  void OnCancel() override {
    absl::MutexLock lock(&health_.mutex_);
    End(grpc::Status::CANCELLED);
  }
  void OnDone() override {
    {
      absl::MutexLock lock(&health_.mutex_);
      health_.watchers_.erase(this);
    }
    delete this;
  }

 private:
  HealthService& health_;
  const std::string service_;
  HealthCheckResponse response_;
  bool written_ = false;
  bool writing_ = false;
  bool finished_ = false;
};

void HealthService::SetServing(const std::string& service, bool serving) {
  absl::MutexLock lock(&mutex_);
  serving_[service] = serving && !shut_down_;
  Notify();
}

void HealthService::ShutDown() {
  absl::MutexLock lock(&mutex_);
  shut_down_ = true;
  for (auto& [name, serving] : serving_) serving = false;
  Notify();
}

void HealthService::EndWatches() {
  absl::MutexLock lock(&mutex_);
  watches_ended_ = true;
  for (Watcher* watcher : watchers_) watcher->EndWhenTold();
}

void HealthService::Notify() {
  for (Watcher* watcher : watchers_) watcher->WriteIfChanged();
}

HealthCheckResponse::ServingStatus HealthService::StatusOf(const std::string& service) const {
  const auto it = serving_.find(service);
  if (it == serving_.end()) return HealthCheckResponse::SERVICE_UNKNOWN;
  return it->second ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::MutexLock lock(&mutex_);
  const auto status = StatusOf(request->service());
  if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
    reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND,
                                 "no service '" + request->service() + "' is registered here"));
  } else {
    response->set_status(status);
    reactor->Finish(grpc::Status::OK);
  }
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext*, const HealthCheckRequest* request) {
  auto* watcher = new Watcher(*this, request->service());  // deletes itself in OnDone
  absl::MutexLock lock(&mutex_);
  watchers_.insert(watcher);
  if (watches_ended_) {
    watcher->EndWhenTold();
  } else {
    watcher->WriteIfChanged();
  }
  return watcher;
}

}  // namespace tessera
