#include "tests/support/stub_router.h"

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/check.h"
#include "common/rpc/server.h"
#include "tessera/v1/generation.grpc.pb.h"

namespace tessera::testing {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(10);

// One gateway's stream: a queue of messages and a read that is always under way.
class GatewayStream final : public grpc::ServerBidiReactor<v1::GatewayMessage, v1::RouterMessage> {
 public:
  struct Owner {
    std::function<void(GatewayStream*, const v1::GatewayMessage&)> on_message;
    std::function<void(GatewayStream*)> on_end;
  };
  explicit GatewayStream(Owner owner) : owner_(std::move(owner)) { StartRead(&incoming_); }

  void Send(v1::RouterMessage message) {
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
    outgoing_.push_back(std::move(message));
    if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
  }
  void End(grpc::Status status) {
    absl::MutexLock lock(&mutex_);
    if (!std::exchange(finished_, true)) Finish(status);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      End(grpc::Status::OK);
      return;
    }
    owner_.on_message(this, incoming_);
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    outgoing_.pop_front();
    if (ok && !finished_ && !outgoing_.empty()) StartWrite(&outgoing_.front());
  }
  void OnCancel() override { End(grpc::Status::CANCELLED); }
  void OnDone() override {
    owner_.on_end(this);
    delete this;
  }

 private:
  const Owner owner_;
  v1::GatewayMessage incoming_;
  absl::Mutex mutex_;
  std::deque<v1::RouterMessage> outgoing_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

class StubRouter::Impl final : public v1::Generation::CallbackService {
 public:
  explicit Impl(StubRouterOptions options) : options_(std::move(options)) {
    tokens_free_ = options_.tokens_free;
    Start("127.0.0.1:0");
    address_ = server_->address();
  }
  ~Impl() override { Die(); }

  grpc::ServerBidiReactor<v1::GatewayMessage, v1::RouterMessage>* GenerateMany(
      grpc::CallbackServerContext* /*context*/) override {
    auto* stream = new GatewayStream(
        {.on_message = [this](GatewayStream* from,
                              const v1::GatewayMessage& message) { OnMessage(from, message); },
         .on_end = [this](GatewayStream* from) { OnEnd(from); }});
    absl::MutexLock lock(&mutex_);
    streams_.insert(stream);
    stream->Send(Report());
    return stream;
  }

  void Start(const std::string& listen) {
    RpcServerConfig config;
    config.listen = listen;
    config.stop_timeout = absl::ZeroDuration();
    auto server = RpcServer::Start(config, {{v1::Generation::service_full_name(), this}});
    TESSERA_CHECK(server.ok());
    server_ = *std::move(server);
    server_->SetServing(true);
  }
  void Die() {
    if (server_ != nullptr) server_->Stop();
    server_ = nullptr;
  }
  void Revive() {
    {
      absl::MutexLock lock(&mutex_);
      draining_ = false;
    }
    Start(address_);
  }

  void HoldAt(uint32_t index) {
    absl::MutexLock lock(&mutex_);
    hold_at_ = index;
    for (auto& [id, request] : running_) Produce(request);
    DropEnded();
  }
  void RefuseWith(absl::Status status, absl::Duration retry_after) {
    absl::MutexLock lock(&mutex_);
    refusal_ = std::move(status);
    retry_after_ = retry_after;
  }
  void Drain() {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    for (GatewayStream* stream : streams_) stream->Send(Report());
    for (auto& [id, request] : running_) {
      SendEnd(request, {.kind = wire::FinishKind::kError,
                        .error = absl::UnavailableError("the router drains")});
    }
    running_.clear();
  }
  void Announce(uint32_t tokens_free) {
    absl::MutexLock lock(&mutex_);
    tokens_free_ = tokens_free;
    for (GatewayStream* stream : streams_) stream->Send(Report());
  }

  void SayNotReady(std::vector<std::string> reasons) {
    absl::MutexLock lock(&mutex_);
    not_ready_ = std::move(reasons);
    for (GatewayStream* stream : streams_) stream->Send(Report());
  }

  const std::string& address() const { return address_; }
  std::vector<wire::GenerationParams> requests() const {
    absl::MutexLock lock(&mutex_);
    return requests_;
  }
  bool AwaitRequests(size_t count) const {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return requests_.size() >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), kPatience);
  }
  bool AwaitCancels(size_t count) const {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return cancels_ >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), kPatience);
  }
  size_t running_count() const {
    absl::MutexLock lock(&mutex_);
    return running_.size();
  }

 private:
  struct Running {
    GatewayStream* stream = nullptr;
    wire::GenerationParams params;
    uint32_t next = 0;
    bool ended = false;
  };

  v1::RouterMessage Report() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::RouterMessage message;
    v1::RouterLoad& load = *message.mutable_load();
    load.set_tokens_free(tokens_free_);
    load.set_sequences_running(static_cast<uint32_t>(running_.size()));
    load.set_draining(draining_);
    for (const std::string& reason : not_ready_) load.add_not_ready(reason);
    return message;
  }

  void OnMessage(GatewayStream* stream, const v1::GatewayMessage& message) {
    absl::MutexLock lock(&mutex_);
    if (message.has_cancel()) {
      ++cancels_;
      const auto found = running_.find(message.cancel().request_id());
      if (found == running_.end()) return;
      SendEnd(found->second, {.kind = wire::FinishKind::kCancelled});
      running_.erase(found);
      return;
    }
    auto params = wire::ToGenerationParams(message.generate());
    TESSERA_CHECK(params.ok());
    requests_.push_back(*params);
    Running request{.stream = stream,
                    .params = *std::move(params),
                    .next = static_cast<uint32_t>(message.generate().produced_token_ids_size())};
    if (!refusal_.ok() || draining_) {
      SendEnd(request, {.kind = wire::FinishKind::kError,
                        .error = draining_ ? absl::UnavailableError("the router drains") : refusal_,
                        .retry_after = retry_after_});
      return;
    }
    wire::StartedEvent started{.prompt_tokens =
                                   static_cast<uint32_t>(request.params.prompt.size())};
    if (request.params.want_prompt_logprobs) {
      for (const TokenId token : request.params.prompt) {
        started.prompt.push_back(Scored(request.params, token));
      }
      started.prompt[0].logprob.reset();
      started.prompt[0].top.clear();
    }
    SendEvent(request, std::move(started));
    Produce(request);
    if (!request.ended) running_.emplace(request.params.request_id, std::move(request));
  }

  wire::TokenOutput Scored(const wire::GenerationParams& params, TokenId token) const {
    wire::TokenOutput output{.token = token};
    if (params.logprobs.has_value() || params.want_prompt_logprobs) {
      output.logprob = -0.5f;
      output.rank = 1;
      for (uint32_t i = 0; i < params.logprobs.value_or(0); ++i) {
        output.top.push_back({token + static_cast<TokenId>(i), -0.5f - static_cast<float>(i)});
      }
    }
    if (params.want_routed_experts) {
      for (uint32_t i = 0; i < 2 * options_.experts_per_token; ++i) {
        output.routed_experts.push_back(static_cast<uint16_t>(i));
      }
    }
    return output;
  }

  // Everything up to the hold in one event; the end if it is reached.
  void Produce(Running& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    wire::TokensEvent tokens{.first_index = request.next};
    wire::FinishedEvent end{.kind = wire::FinishKind::kLength};
    bool at_end = request.next >= request.params.tokens_max;
    while (!at_end && request.next < hold_at_) {
      const TokenId token = options_.token(request.params, request.next);
      tokens.tokens.push_back(Scored(request.params, token));
      ++request.next;
      const auto& stops = request.params.stop_tokens;
      if (request.next > request.params.tokens_min &&
          ((token == options_.eos_token && !request.params.ignore_eos) ||
           std::find(stops.begin(), stops.end(), token) != stops.end())) {
        end.kind = wire::FinishKind::kStop;
        at_end = true;
      }
      if (request.next >= request.params.tokens_max) at_end = true;
    }
    if (!tokens.tokens.empty()) SendEvent(request, std::move(tokens));
    if (at_end) {
      SendEnd(request, end);
      request.ended = true;
    }
  }
  void DropEnded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    absl::erase_if(running_, [](const auto& entry) { return entry.second.ended; });
  }

  template <typename Event>
  void SendEvent(const Running& request, Event event) {
    v1::RouterMessage message;
    wire::ToProto({.request_id = request.params.request_id, .event = std::move(event)},
                  *message.mutable_event());
    request.stream->Send(std::move(message));
  }
  void SendEnd(const Running& request, wire::FinishedEvent end) {
    end.prompt_tokens = static_cast<uint32_t>(request.params.prompt.size());
    end.produced_tokens = request.next;
    SendEvent(request, std::move(end));
  }

  void OnEnd(GatewayStream* stream) {
    absl::MutexLock lock(&mutex_);
    streams_.erase(stream);
    absl::erase_if(running_, [stream](const auto& entry) { return entry.second.stream == stream; });
  }

  const StubRouterOptions options_;
  std::string address_;
  std::unique_ptr<RpcServer> server_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_set<GatewayStream*> streams_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Running> running_ ABSL_GUARDED_BY(mutex_);
  std::vector<wire::GenerationParams> requests_ ABSL_GUARDED_BY(mutex_);
  size_t cancels_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t hold_at_ ABSL_GUARDED_BY(mutex_) = UINT32_MAX;
  uint32_t tokens_free_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> not_ready_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  absl::Duration retry_after_ ABSL_GUARDED_BY(mutex_);
};

StubRouter::StubRouter(StubRouterOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
StubRouter::~StubRouter() = default;
std::string StubRouter::address() const { return impl_->address(); }
void StubRouter::HoldAt(uint32_t index) { impl_->HoldAt(index); }
void StubRouter::Release() { impl_->HoldAt(UINT32_MAX); }
void StubRouter::RefuseWith(absl::Status status, absl::Duration retry_after) {
  impl_->RefuseWith(std::move(status), retry_after);
}
void StubRouter::Drain() { impl_->Drain(); }
void StubRouter::Announce(uint32_t tokens_free) { impl_->Announce(tokens_free); }
void StubRouter::SayNotReady(std::vector<std::string> reasons) {
  impl_->SayNotReady(std::move(reasons));
}
void StubRouter::Die() { impl_->Die(); }
void StubRouter::Revive() { impl_->Revive(); }
std::vector<wire::GenerationParams> StubRouter::requests() const { return impl_->requests(); }
bool StubRouter::AwaitRequests(size_t count) const { return impl_->AwaitRequests(count); }
bool StubRouter::AwaitCancels(size_t count) const { return impl_->AwaitCancels(count); }
size_t StubRouter::running_count() const { return impl_->running_count(); }

}  // namespace tessera::testing
