#include "services/router/edge/generation_service.h"

#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/router/edge/generate_many.h"
#include "services/router/edge/generate_one.h"
#include "tessera/v1/generation.grpc.pb.h"

namespace tessera::router {

class GenerationService::Impl final : public v1::Generation::CallbackService {
 public:
  Impl(EngineLoop& loop, LoadBoard& board, const Clock& clock)
      : loop_(loop), board_(board), clock_(clock) {}

  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override {
    return GenerateOne::Begin(loop_, clock_, absl::FromChrono(context->deadline()), *request);
  }

  grpc::ServerBidiReactor<v1::GatewayMessage, v1::RouterMessage>* GenerateMany(
      grpc::CallbackServerContext*) override {
    const auto reactor = router::GenerateMany::Begin(loop_, board_, clock_);
    bool ending = false;
    {
      absl::MutexLock lock(&mutex_);
      std::erase_if(streams_, [](const auto& stream) { return stream.expired(); });
      streams_.push_back(reactor);
      ending = ending_;
    }
    if (ending) reactor->End();
    return reactor.get();
  }

  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext* context,
                                   const v1::CancelRequest* request,
                                   v1::CancelReply* reply) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (request->request_id().empty()) {
      reactor->Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                                   "request_id is empty; it names the request to cancel"));
      return reactor;
    }
    reply->set_was_running(loop_.Cancel(request->request_id()));
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  void EndStreams() {
    std::vector<std::weak_ptr<router::GenerateMany>> streams;
    {
      absl::MutexLock lock(&mutex_);
      ending_ = true;
      streams = streams_;
    }
    for (const auto& stream : streams) {
      if (const auto alive = stream.lock()) alive->End();
    }
  }

 private:
  EngineLoop& loop_;
  LoadBoard& board_;
  const Clock& clock_;

  absl::Mutex mutex_;
  std::vector<std::weak_ptr<router::GenerateMany>> streams_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
};

GenerationService::GenerationService(EngineLoop& loop, LoadBoard& board, const Clock& clock)
    : impl_(std::make_unique<Impl>(loop, board, clock)) {}
GenerationService::~GenerationService() = default;

NamedService GenerationService::named() {
  return {v1::Generation::service_full_name(), impl_.get()};
}

void GenerationService::EndStreams() { impl_->EndStreams(); }

}  // namespace tessera::router
