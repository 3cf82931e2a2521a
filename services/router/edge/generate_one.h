#pragma once

// One Generate call. Included by sources of edge/ only: it needs gRPC's headers.

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "services/router/loop/engine_loop.h"
#include "tessera/v1/generation.grpc.pb.h"

namespace tessera::router {

// `request` as the engine takes it, with the earlier of its deadline and the call's.
absl::StatusOr<wire::GenerationParams> ReadRequest(const v1::GenerateRequest& request,
                                                   absl::Time call_deadline, const Clock& clock);
// The Finished event of a request that was refused with `error`.
wire::TokenEvent RefusedEvent(const v1::GenerateRequest& request, const absl::Status& error);

// Writes the events of a request, one write at a time; what comes meanwhile is merged by the
// stream. Lives until gRPC is done with the call.
class GenerateOne final : public grpc::ServerWriteReactor<v1::GenerateEvent>,
                          public std::enable_shared_from_this<GenerateOne> {
 public:
  // Submits the request and starts to write.
  static grpc::ServerWriteReactor<v1::GenerateEvent>* Begin(EngineLoop& loop, const Clock& clock,
                                                            absl::Time call_deadline,
                                                            const v1::GenerateRequest& request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void Attach(std::shared_ptr<RequestStream> stream);
  void Refuse(const v1::GenerateRequest& request, const absl::Status& error);
  // Writes the next event if there is one and none is being written.
  void Pump();
  void CancelRequest();

  absl::Mutex mutex_;
  std::shared_ptr<RequestStream> stream_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;  // a write is under way, or the call is finished
  bool last_written_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status outcome_ ABSL_GUARDED_BY(mutex_);
  v1::GenerateEvent message_;          // of whoever made busy_ true
  std::shared_ptr<GenerateOne> self_;  // until OnDone
};

}  // namespace tessera::router
