#include "services/gateway/edge/kserve_service.h"

#include <grpcpp/support/server_callback.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "inference/grpc_service.grpc.pb.h"
#include "services/gateway/api/infer_names.h"
#include "services/gateway/api/infer_tensors.h"
#include "services/gateway/edge/call_status.h"
#include "services/gateway/edge/session_call.h"

namespace tessera::gateway {
namespace {

// One ModelInfer.
class InferCall final : public grpc::ServerUnaryReactor, public SessionCall {
 public:
  // `reply` is gRPC's: it lives until the call has ended.
  InferCall(TaskThread& tasks, inference::ModelInferResponse& reply)
      : SessionCall(tasks), reply_(reply) {}

  // Before StartSession.
  void Expect(InferForm form, uint32_t choice_count) {
    form_ = std::move(form);
    choices_.resize(choice_count);
  }

  void OnStep(uint32_t choice, const ChoiceStep& step, const Usage&) override {
    for (const OutputEvent& event : step.events) choices_[choice].text += event.text;
  }
  void OnChoiceEnd(uint32_t choice, const ChoiceEnd& end, const Usage&) override {
    choices_[choice].reason = end.reason;
  }
  void OnEnd(const Usage& usage) override {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(has_ended_, true)) return;
    WriteInferReply(form_, choices_, usage, reply_);
    Finish(grpc::Status::OK);
  }

  void OnCancel() override { Abort(AbortCause::kClient, absl::CancelledError("cancelled")); }
  void OnDone() override { Release(); }

 private:
  void FinishCall(const absl::Status& status) override { Finish(ToCallStatus(status)); }

  InferForm form_;                        // set before the session starts
  std::vector<InferChoice> choices_;      // the task thread's
  inference::ModelInferResponse& reply_;  // until has_ended_
};

class KserveService final : public inference::GRPCInferenceService::CallbackService,
                            public CallService {
 public:
  explicit KserveService(InferenceRooms rooms) : CallService(std::move(rooms)) {}

  grpc::Service& service() override { return *this; }
  std::string name() const override { return inference::GRPCInferenceService::service_full_name(); }

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* ServerLive(Context* context, const inference::ServerLiveRequest* /*request*/,
                      inference::ServerLiveResponse* reply) override {
    reply->set_live(true);
    return FinishedCall(*context, absl::OkStatus());
  }
  Reactor* ServerReady(Context* context, const inference::ServerReadyRequest* /*request*/,
                       inference::ServerReadyResponse* reply) override {
    reply->set_ready(gate_.is_open());
    return FinishedCall(*context, absl::OkStatus());
  }
  Reactor* ModelReady(Context* context, const inference::ModelReadyRequest* request,
                      inference::ModelReadyResponse* reply) override {
    const auto name = ResolveModel(*context, request->name(), request->version());
    reply->set_ready(name.ok() && gate_.is_open());
    return FinishedCall(*context, name.status());
  }
  Reactor* ServerMetadata(Context* context, const inference::ServerMetadataRequest* /*request*/,
                          inference::ServerMetadataResponse* reply) override {
    std::shared_ptr<const ApiKey> key;
    const absl::Status known = gate_.Identify(*context, RouteClass::kModel, key);
    reply->set_name("tessera");
    reply->set_version(gate_.rooms().version);
    return FinishedCall(*context, known);
  }
  Reactor* ModelMetadata(Context* context, const inference::ModelMetadataRequest* request,
                         inference::ModelMetadataResponse* reply) override {
    const auto name = ResolveModel(*context, request->name(), request->version());
    if (name.ok()) reply->set_name(*name);
    reply->add_versions(std::string(kInferVersion));
    WriteInferMetadata(*reply);
    return FinishedCall(*context, name.status());
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

 private:
  absl::StatusOr<std::string> ResolveModel(const Context& context, const std::string& wanted,
                                           const std::string& version) const {
    std::shared_ptr<const ApiKey> key;
    TESSERA_RETURN_IF_ERROR(gate_.Identify(context, RouteClass::kModel, key));
    TESSERA_ASSIGN_OR_RETURN(std::string name, gate_.ResolveModel(wanted, key.get()));
    if (version.empty() || version == kInferVersion) return name;
    return absl::NotFoundError(
        absl::StrCat("the model ", name, " has the version 1, not '", version, "'"));
  }

  absl::Status StartInfer(const Context& context, const inference::ModelInferRequest& request,
                          inference::ModelInferResponse& reply,
                          const std::shared_ptr<InferCall>& call) {
    TESSERA_ASSIGN_OR_RETURN(const std::string name,
                             ResolveModel(context, request.model_name(), request.model_version()));
    absl::StatusOr<InferRequest> asked = ReadInferRequest(request);
    absl::StatusOr<std::string> body("");
    if (asked.ok()) {
      body = std::move(asked->body);
    } else {
      body = asked.status();
    }
    std::shared_ptr<const ApiKey> key;
    TESSERA_ASSIGN_OR_RETURN(PreparedRequest prepared,
                             gate_.Read(context, ApiDialect::kCompletion, std::move(body), key));
    reply.set_model_name(name);
    reply.set_model_version(std::string(kInferVersion));
    reply.set_id(request.id());
    const std::string id = gate_.RequestIdOf(context, request.id());
    call->Expect(std::move(asked->form), prepared.choice_count());
    running_.Add(call, id, "");
    call->StartSession(gate_.rooms().sessions, std::move(prepared), std::move(key), id);
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<CallService> MakeKserveService(InferenceRooms rooms) {
  return std::make_unique<KserveService>(std::move(rooms));
}

}  // namespace tessera::gateway
