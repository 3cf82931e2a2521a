#include "services/gateway/upstream/router_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/generation.grpc.pb.h"
#include "tessera/v1/observation.grpc.pb.h"

namespace tessera::gateway {

struct RouterClient::State {
  State(std::string address_, std::shared_ptr<grpc::Channel> channel_, RouterEvents& events_)
      : address(std::move(address_)),
        channel(std::move(channel_)),
        stub(v1::Generation::NewStub(channel)),
        observation(v1::Observation::NewStub(channel)),
        events(events_) {}

  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return calls_alive == 0; }

  const std::string address;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::Generation::Stub> stub;
  const std::unique_ptr<v1::Observation::Stub> observation;
  RouterEvents& events;
  absl::Mutex mutex;
  Stream* stream ABSL_GUARDED_BY(mutex) = nullptr;  // deletes itself when it has ended
  absl::flat_hash_set<Question*> questions ABSL_GUARDED_BY(mutex);
  size_t calls_alive ABSL_GUARDED_BY(mutex) = 0;  // streams and questions that are not deleted yet
  bool closed ABSL_GUARDED_BY(mutex) = false;
};

// One life of the stream. A read is always under way; a hold keeps the call alive for writes from
// other threads, until reading has ended.
class RouterClient::Stream final
    : public grpc::ClientBidiReactor<v1::GatewayMessage, v1::RouterMessage> {
 public:
  explicit Stream(State& state) : state_(state) {}

  void Start() {
    state_.stub->async()->GenerateMany(&context_, this);
    AddHold();
    StartRead(&incoming_);
    StartCall();
  }

  // False: reading has ended, nothing is sent any more.
  bool Send(v1::GatewayMessage message) {
    absl::MutexLock lock(&mutex_);
    if (ended_) return false;
    outgoing_.push_back(std::move(message));
    if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
    return true;
  }

  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      {
        absl::MutexLock lock(&mutex_);
        ended_ = true;
      }
      RemoveHold();
      return;
    }
    if (const absl::Status status = Tell(); !status.ok()) {
      broken_ = status;
      context_.TryCancel();
    }
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    outgoing_.pop_front();
    if (ok && !ended_ && !outgoing_.empty()) StartWrite(&outgoing_.front());
  }

  void OnDone(const grpc::Status& status) override {
    State& state = state_;
    absl::Status reason = broken_.ok() ? FromGrpc(status) : broken_;
    if (reason.ok()) reason = absl::UnavailableError("the router ended the stream");
    state.events.OnDown(Annotate(reason, absl::StrCat("router ", state.address)));
    {
      absl::MutexLock lock(&state.mutex);
      state.stream = nullptr;
    }
    // Before the client may end: the context holds the channel, see MakeChannel.
    delete this;
    absl::MutexLock lock(&state.mutex);
    --state.calls_alive;
  }

 private:
  absl::Status Tell() {
    switch (incoming_.message_case()) {
      case v1::RouterMessage::kEvent: {
        TESSERA_ASSIGN_OR_RETURN(wire::TokenEvent event, wire::ToTokenEvent(incoming_.event()));
        state_.events.OnEvent(std::move(event));
        return absl::OkStatus();
      }
      case v1::RouterMessage::kLoad: {
        const v1::RouterLoad& load = incoming_.load();
        state_.events.OnReport({.tokens_free = load.tokens_free(),
                                .sequences_running = load.sequences_running(),
                                .sequences_waiting = load.sequences_waiting(),
                                .kv_used_ratio = load.kv_used_ratio(),
                                .draining = load.draining(),
                                .epoch = load.epoch(),
                                .preemptions_total = load.preemptions_total(),
                                .not_ready = {load.not_ready().begin(), load.not_ready().end()}});
        return absl::OkStatus();
      }
      default:  // of a later version: not ours to understand
        return absl::OkStatus();
    }
  }

  State& state_;  // the client's, which waits for our end
  grpc::ClientContext context_;
  v1::RouterMessage incoming_;  // gRPC's threads, one at a time
  absl::Status broken_;         // the same
  absl::Mutex mutex_;
  std::deque<v1::GatewayMessage> outgoing_ ABSL_GUARDED_BY(mutex_);  // the front is being written
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

struct RouterClient::Question {
  grpc::ClientContext context;
  v1::ExpertLoadRequest request;
  v1::ExpertLoadReply reply;
  ExpertLoadDone done;
};

RouterClient::RouterClient(std::shared_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<RouterClient>> RouterClient::Open(const RouterClientConfig& config,
                                                                 RouterEvents& events) {
  ChannelConfig channel_config;
  channel_config.address = config.address;
  channel_config.tls = config.tls;
  channel_config.message_bytes_max = config.message_bytes_max;
  channel_config.ping_interval = config.ping_interval;
  channel_config.ping_timeout = config.ping_timeout;
  // A router that restarts should find us soon: its requests wait here.
  channel_config.reconnect_max = absl::Milliseconds(500);
  TESSERA_ASSIGN_OR_RETURN(auto channel, MakeChannel(channel_config));
  return std::unique_ptr<RouterClient>(
      new RouterClient(std::make_shared<State>(config.address, std::move(channel), events)));
}

RouterClient::~RouterClient() {
  absl::MutexLock lock(&state_->mutex);
  state_->closed = true;
  if (state_->stream != nullptr) state_->stream->Cancel();
  for (Question* question : state_->questions) question->context.TryCancel();
  state_->mutex.Await(absl::Condition(state_.get(), &State::IsIdle));
}

void RouterClient::Connect() {
  Stream* stream = nullptr;
  {
    absl::MutexLock lock(&state_->mutex);
    if (state_->stream != nullptr || state_->closed) return;
    stream = state_->stream = new Stream(*state_);
    ++state_->calls_alive;
    // Under the lock, so that nobody sends on a stream that has not begun.
    stream->Start();
  }
}

bool RouterClient::Send(const wire::GenerationParams& params) {
  v1::GatewayMessage message;
  wire::ToProto(params, *message.mutable_generate());
  absl::MutexLock lock(&state_->mutex);
  return state_->stream != nullptr && state_->stream->Send(std::move(message));
}

void RouterClient::AskExpertLoad(absl::Duration timeout, ExpertLoadDone done) {
  auto* question = new Question();
  question->done = std::move(done);
  SetTimeout(question->context, timeout);
  State& state = *state_;  // waits for the end of the question
  {
    absl::MutexLock lock(&state.mutex);
    state.questions.insert(question);
    ++state.calls_alive;
  }
  state.observation->async()->ExpertLoad(
      &question->context, &question->request, &question->reply,
      [&state, question](const grpc::Status& status) {
        question->done(status.ok()
                           ? wire::ToExpertLoad(question->reply)
                           : Annotate(FromGrpc(status), absl::StrCat("router ", state.address)));
        {
          absl::MutexLock lock(&state.mutex);
          state.questions.erase(question);
        }
        delete question;  // before the client may end, as in OnDone
        absl::MutexLock lock(&state.mutex);
        --state.calls_alive;
      });
}

void RouterClient::Cancel(const std::string& request_id) {
  v1::GatewayMessage message;
  message.mutable_cancel()->set_request_id(request_id);
  absl::MutexLock lock(&state_->mutex);
  if (state_->stream != nullptr) state_->stream->Send(std::move(message));
}

}  // namespace tessera::gateway
