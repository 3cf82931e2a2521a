#pragma once

// One GenerateMany stream. Included by sources of edge/ only: it needs gRPC's headers.

#include <deque>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "services/router/loop/engine_loop.h"
#include "services/router/loop/load_board.h"
#include "tessera/v1/generation.grpc.pb.h"

namespace tessera::router {

// Requests of one gateway, their events in turn and the load between them. A request with the id of
// one that runs on this stream is a mistake whose answers nobody could tell apart: it is dropped
// and the running one cancelled. Reads on only while few refusals wait to be written, so that a
// client that sends rubbish and reads nothing costs nothing. Lives until gRPC is done with the
// call.
class GenerateMany final : public grpc::ServerBidiReactor<v1::GatewayMessage, v1::RouterMessage>,
                           public std::enable_shared_from_this<GenerateMany> {
 public:
  static std::shared_ptr<GenerateMany> Begin(EngineLoop& loop, LoadBoard& board,
                                             const Clock& clock);
  GenerateMany(EngineLoop& loop, LoadBoard& board, const Clock& clock)
      : loop_(loop), board_(board), clock_(clock) {}

  // Ends when no request is left; takes no new ones.
  void End();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void TakeRequest(const v1::GenerateRequest& request);
  void Refuse(const v1::GenerateRequest& request, const absl::Status& error);
  void OnReady(const std::string& request_id);
  // Writes, finishes or reads on, whatever is due.
  void Pump();
  enum class Next { kNothing, kWrite, kFinish };
  Next ChooseNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool FillMessage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CancelAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  EngineLoop& loop_;
  LoadBoard& board_;
  const Clock& clock_;

  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<RequestStream>> streams_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> ready_ ABSL_GUARDED_BY(mutex_);  // ids with events, in turn
  absl::flat_hash_set<std::string> in_ready_ ABSL_GUARDED_BY(mutex_);
  std::deque<wire::TokenEvent> refusals_ ABSL_GUARDED_BY(mutex_);
  bool load_due_ ABSL_GUARDED_BY(mutex_) = true;  // the first message of every stream
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool input_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;  // the router stops
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // the client is gone
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;

  v1::GatewayMessage incoming_;         // of the read under way
  v1::RouterMessage outgoing_;          // of the write under way
  std::shared_ptr<GenerateMany> self_;  // until OnDone
};

}  // namespace tessera::router
