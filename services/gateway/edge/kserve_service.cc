#include "services/gateway/edge/kserve_service.h"

#include <grpcpp/support/server_callback.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/rpc/rpc_status.h"
#include "inference/grpc_service.grpc.pb.h"
#include "services/gateway/edge/infer_tensors.h"
#include "services/gateway/edge/task_thread.h"

namespace tessera::gateway {
namespace {

constexpr const char* kVersion = "1";  // a served name has one version

// One ModelInfer. Session calls come on the task thread, reactions on gRPC's.
class InferCall final : public grpc::ServerUnaryReactor,
                        public SessionSink,
                        public std::enable_shared_from_this<InferCall> {
 public:
  // `reply` is gRPC's: it lives until the call has ended.
  InferCall(TaskThread& tasks, inference::ModelInferResponse& reply)
      : tasks_(tasks), reply_(reply) {}

  // The call keeps itself alive until gRPC is done with it.
  void Hold() { self_ = shared_from_this(); }
  void StartSession(const SessionRooms& rooms, InferRequest asked, PreparedRequest prepared,
                    std::shared_ptr<const ApiKey> key, const std::string& request_id) {
    asked_ = std::move(asked);
    choices_.resize(prepared.choice_count());
    session_ = std::make_shared<GenerationSession>(
        rooms, std::move(prepared), std::move(key), request_id, rooms.clock.Elapsed(),
        [&tasks = tasks_](std::function<void()> task) { tasks.Post(std::move(task)); }, *this);
    tasks_.Post([self = shared_from_this()] {
      const absl::Status started =
          self->has_ended() ? absl::CancelledError("the client left") : self->session_->Start();
      if (!started.ok()) self->End(started);
    });
  }
  void End(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(ended_, true)) return;
    Finish(ToGrpc(status));
  }
  // From any thread.
  void Abort(AbortCause cause, const absl::Status& status) {
    tasks_.Post([self = shared_from_this(), cause, status] {
      if (self->session_ != nullptr) self->session_->Abort(cause);
      self->End(status);
    });
  }

  void OnBegin(uint32_t, const PromptReport&, const Usage&) override {}
  void OnStep(uint32_t choice, const ChoiceStep& step, const Usage&) override {
    for (const OutputEvent& event : step.events) choices_[choice].text += event.text;
  }
  void OnChoiceEnd(uint32_t choice, const ChoiceEnd& end, const Usage&) override {
    choices_[choice].reason = end.reason;
  }
  void OnEnd(const Usage& usage) override {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(ended_, true)) return;
    WriteInferReply(asked_, choices_, usage, reply_);
    Finish(grpc::Status::OK);
  }
  void OnError(const absl::Status& status) override { End(status); }

  void OnCancel() override { Abort(AbortCause::kClient, absl::CancelledError("cancelled")); }
  void OnDone() override {
    // The session lives on the task thread and ends there.
    tasks_.Post([self = std::move(self_)] {
      if (self->session_ != nullptr) self->session_->Abort(AbortCause::kClient);
    });
  }

 private:
  bool has_ended() {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }

  TaskThread& tasks_;
  std::shared_ptr<InferCall> self_;
  // Set before the session starts.
  std::shared_ptr<GenerationSession> session_;
  InferRequest asked_;
  std::vector<InferChoice> choices_;  // the task thread's
  absl::Mutex mutex_;
  inference::ModelInferResponse& reply_;  // until ended_
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

class KserveService::Impl final : public inference::GRPCInferenceService::CallbackService {
 public:
  explicit Impl(InferenceRooms rooms) : gate_(std::move(rooms)) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* ServerLive(Context* context, const inference::ServerLiveRequest* /*request*/,
                      inference::ServerLiveResponse* reply) override {
    reply->set_live(true);
    return Finished(context, absl::OkStatus());
  }
  Reactor* ServerReady(Context* context, const inference::ServerReadyRequest* /*request*/,
                       inference::ServerReadyResponse* reply) override {
    reply->set_ready(gate_.is_open());
    return Finished(context, absl::OkStatus());
  }
  Reactor* ModelReady(Context* context, const inference::ModelReadyRequest* request,
                      inference::ModelReadyResponse* reply) override {
    const absl::Status known = CheckModel(*context, request->name(), request->version());
    reply->set_ready(known.ok() && gate_.is_open());
    return Finished(context, known);
  }
  Reactor* ServerMetadata(Context* context, const inference::ServerMetadataRequest* /*request*/,
                          inference::ServerMetadataResponse* reply) override {
    std::shared_ptr<const ApiKey> key;
    const absl::Status known = gate_.Identify(*context, RouteClass::kModel, key);
    reply->set_name("tessera");
    reply->set_version(gate_.rooms().version);
    return Finished(context, known);
  }
  Reactor* ModelMetadata(Context* context, const inference::ModelMetadataRequest* request,
                         inference::ModelMetadataResponse* reply) override {
    const absl::Status known = CheckModel(*context, request->name(), request->version());
    reply->set_name(request->name());
    reply->add_versions(kVersion);
    WriteInferMetadata(*reply);
    return Finished(context, known);
  }
  Reactor* ModelInfer(Context* context, const inference::ModelInferRequest* request,
                      inference::ModelInferResponse* reply) override {
    auto call = std::make_shared<InferCall>(tasks_, *reply);
    call->Hold();
    if (const absl::Status started = StartInfer(*context, *request, *reply, call); !started.ok()) {
      call->End(started);
    }
    return call.get();
  }

  void Drain() { gate_.Drain(); }
  void EndCalls() {
    absl::MutexLock lock(&mutex_);
    for (const auto& running : running_) {
      if (const auto call = running.lock()) {
        call->Abort(AbortCause::kInternal, absl::UnavailableError("the server is shutting down"));
      }
    }
  }
  void Stop() { tasks_.Stop(); }

 private:
  static Reactor* Finished(Context* context, const absl::Status& status) {
    Reactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }

  absl::Status CheckModel(const Context& context, const std::string& name,
                          const std::string& version) const {
    std::shared_ptr<const ApiKey> key;
    TESSERA_RETURN_IF_ERROR(gate_.Identify(context, RouteClass::kModel, key));
    TESSERA_RETURN_IF_ERROR(gate_.CheckModelName(name, key.get()));
    if (version.empty() || version == kVersion) return absl::OkStatus();
    return absl::NotFoundError(
        absl::StrCat("the model ", name, " has the version 1, not '", version, "'"));
  }

  absl::Status StartInfer(const Context& context, const inference::ModelInferRequest& request,
                          inference::ModelInferResponse& reply,
                          const std::shared_ptr<InferCall>& call) {
    TESSERA_RETURN_IF_ERROR(CheckModel(context, request.model_name(), request.model_version()));
    TESSERA_ASSIGN_OR_RETURN(InferRequest asked, ReadInferRequest(request));
    std::shared_ptr<const ApiKey> key;
    TESSERA_ASSIGN_OR_RETURN(PreparedRequest prepared,
                             gate_.Read(context, ApiDialect::kCompletion, asked.body, key));
    std::string().swap(asked.body);
    reply.set_model_name(request.model_name());
    reply.set_model_version(kVersion);
    reply.set_id(request.id());
    {
      absl::MutexLock lock(&mutex_);
      std::erase_if(running_, [](const auto& running) { return running.expired(); });
      running_.push_back(call);
    }
    call->StartSession(gate_.rooms().sessions, std::move(asked), std::move(prepared),
                       std::move(key), gate_.RequestIdOf(context, request.id()));
    return absl::OkStatus();
  }

  CallGate gate_;
  absl::Mutex mutex_;
  std::vector<std::weak_ptr<InferCall>> running_ ABSL_GUARDED_BY(mutex_);
  TaskThread tasks_;  // last: it runs what the others hold
};

KserveService::KserveService(InferenceRooms rooms)
    : impl_(std::make_unique<Impl>(std::move(rooms))) {}
KserveService::~KserveService() = default;
grpc::Service* KserveService::service() { return impl_.get(); }
std::string KserveService::Name() { return inference::GRPCInferenceService::service_full_name(); }
void KserveService::Drain() { impl_->Drain(); }
void KserveService::EndCalls() { impl_->EndCalls(); }
void KserveService::Stop() { impl_->Stop(); }

}  // namespace tessera::gateway
