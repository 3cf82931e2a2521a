#include "services/gateway/edge/inference_service.h"

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "services/gateway/edge/call_status.h"
#include "services/gateway/edge/request_json.h"
#include "services/gateway/edge/session_call.h"
#include "services/gateway/keys/access.h"
#include "tessera/v1/inference.grpc.pb.h"

namespace tessera::gateway {
namespace {

constexpr size_t kMessagesWaitingMax = 1 << 16;  // of a client that does not read; then it is cut

// One streaming call.
class GenerationCall final : public grpc::ServerWriteReactor<v1::GenerationReply>,
                             public SessionCall {
 public:
  explicit GenerationCall(TaskThread& tasks) : SessionCall(tasks) {}

  void OnStep(uint32_t choice, const ChoiceStep& step, const Usage&) override {
    v1::GenerationReply reply;
    reply.set_choice(choice);
    for (const OutputEvent& event : step.events) Add(event, reply);
    for (const TokenId id : step.token_ids) reply.add_token_ids(id);
    if (!step.events.empty() || !step.token_ids.empty()) Send(std::move(reply));
  }
  void OnChoiceEnd(uint32_t choice, const ChoiceEnd& end, const Usage&) override {
    v1::GenerationReply reply;
    reply.set_choice(choice);
    reply.set_finish_reason(std::string(NameOf(end.reason)));
    Send(std::move(reply));
  }
  void OnEnd(const Usage& usage) override {
    v1::GenerationReply reply;
    v1::TokenUsage& tokens = *reply.mutable_usage();
    tokens.set_prompt_tokens(usage.prompt_tokens);
    tokens.set_completion_tokens(usage.completion_tokens);
    tokens.set_cached_tokens(usage.cached_tokens);
    tokens.set_reasoning_tokens(usage.reasoning_tokens);
    Send(std::move(reply));
    End(absl::OkStatus());
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();
    if (!outgoing_.empty()) {
      StartWrite(&outgoing_.front());
    } else if (has_ended_) {
      Finish(ToCallStatus(status_));
    }
  }
  void OnCancel() override { Abort(AbortCause::kClient, absl::CancelledError("cancelled")); }
  void OnDone() override { Release(); }

 private:
  static void Add(const OutputEvent& event, v1::GenerationReply& reply) {
    switch (event.kind) {
      case OutputEvent::Kind::kReasoning:
        reply.mutable_reasoning()->append(event.text);
        return;
      case OutputEvent::Kind::kContent:
        reply.mutable_text()->append(event.text);
        return;
      case OutputEvent::Kind::kToolCall:
      case OutputEvent::Kind::kArguments: {
        v1::ToolCallPart& part = *reply.add_tool_calls();
        part.set_index(event.call_index);
        part.set_id(event.call_id);
        part.set_name(event.name);
        part.set_arguments(event.text);
        return;
      }
    }
  }
  void FinishCall(const absl::Status& status) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    status_ = status;
    // Behind the last write, if one is under way.
    if (outgoing_.empty()) Finish(ToCallStatus(status_));
  }
  void Send(v1::GenerationReply reply) {
    {
      absl::MutexLock lock(&mutex_);
      if (has_ended_) return;
      if (outgoing_.size() < kMessagesWaitingMax) {
        outgoing_.push_back(std::move(reply));
        if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
        return;
      }
    }
    Abort(AbortCause::kClient, absl::ResourceExhaustedError("the client reads too slowly"));
  }

  std::deque<v1::GenerationReply> outgoing_ ABSL_GUARDED_BY(mutex_);  // the front is being written
  absl::Status status_ ABSL_GUARDED_BY(mutex_);                       // once the call has ended
};

class InferenceService final : public v1::Inference::CallbackService, public CallService {
 public:
  explicit InferenceService(InferenceRooms rooms) : CallService(std::move(rooms)) {}

  grpc::Service& service() override { return *this; }
  std::string name() const override { return v1::Inference::service_full_name(); }

  using Replies = grpc::ServerWriteReactor<v1::GenerationReply>;
  Replies* Chat(grpc::CallbackServerContext* context, const v1::ChatRequest* request) override {
    return Generate(context, ApiDialect::kChat, ToJson(*request));
  }
  Replies* Complete(grpc::CallbackServerContext* context,
                    const v1::CompleteRequest* request) override {
    return Generate(context, ApiDialect::kCompletion, ToJson(*request));
  }
  Replies* GenerateTokens(grpc::CallbackServerContext* context,
                          const v1::GenerateTokensRequest* request) override {
    return Generate(context, ApiDialect::kCompletion, ToJson(*request));
  }
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeReply* reply) override {
    return FinishedCall(*context, TokenizeText(*context, *request, *reply));
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* /*request*/,
                                       v1::ListModelsReply* reply) override {
    std::shared_ptr<const ApiKey> key;
    const absl::Status known = gate_.Identify(*context, RouteClass::kModel, key);
    for (const std::string& name : gate_.rooms().model_names) {
      if (!known.ok() || !CheckModel(key.get(), name).ok()) continue;
      v1::ListModelsReply::Model& model = *reply->add_models();
      model.set_id(name);
      model.set_context_max(gate_.rooms().sessions.model.context_max());
    }
    return FinishedCall(*context, known);
  }
  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* context,
                                  const v1::AbortRequest* request, v1::AbortReply* reply) override {
    std::shared_ptr<const ApiKey> key;
    const absl::Status known = gate_.Identify(*context, RouteClass::kModel, key);
    if (known.ok()) reply->set_aborted(running_.Abort(request->request_id(), NameOf(key.get())));
    return FinishedCall(*context, known);
  }

 private:
  static std::string NameOf(const ApiKey* key) { return key == nullptr ? "" : key->name; }

  Replies* Generate(grpc::CallbackServerContext* context, ApiDialect dialect,
                    absl::StatusOr<std::string> body) {
    auto call = std::make_shared<GenerationCall>(tasks_);
    call->Hold();
    std::shared_ptr<const ApiKey> key;
    absl::StatusOr<PreparedRequest> prepared = gate_.Read(*context, dialect, std::move(body), key);
    if (!prepared.ok()) {
      call->End(prepared.status());
      return call.get();
    }
    const std::string id = gate_.RequestIdOf(*context);
    running_.Add(call, id, NameOf(key.get()));
    call->StartSession(gate_.rooms().sessions, *std::move(prepared), std::move(key), id);
    return call.get();
  }

  absl::Status TokenizeText(const grpc::CallbackServerContext& context,
                            const v1::TokenizeRequest& request, v1::TokenizeReply& reply) const {
    std::shared_ptr<const ApiKey> key;
    TESSERA_RETURN_IF_ERROR(gate_.Identify(context, RouteClass::kModel, key));
    TESSERA_RETURN_IF_ERROR(gate_.ResolveModel(request.model(), key.get()).status());
    TESSERA_ASSIGN_OR_RETURN(
        const std::vector<TokenId> ids,
        gate_.rooms().sessions.model.EncodeText(request.text(), request.add_special_tokens()));
    reply.mutable_token_ids()->Add(ids.begin(), ids.end());
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<CallService> MakeInferenceService(InferenceRooms rooms) {
  return std::make_unique<InferenceService>(std::move(rooms));
}

}  // namespace tessera::gateway
