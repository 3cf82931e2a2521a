#pragma once

// A UCX worker: endpoints, and the queues by which frames come in over them.

#include <ucp/api/ucp.h>

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera {

// kUnavailable: "UCX: <what>: <UCX's words for the status>".
absl::Status UcxError(std::string_view what, ucs_status_t status);

// Used by one thread at a time; only its descriptor may be waited for beside that.
class UcxWorker {
 public:
  // Active messages of id `message` go to `handler`, with `context` as its first argument. They may
  // be kept (UCS_INPROGRESS) until ucp_am_data_release.
  static absl::StatusOr<std::unique_ptr<UcxWorker>> Create(ucp_context_h ucx, unsigned message,
                                                           ucp_am_recv_callback_t handler,
                                                           void* context);
  // Its endpoints must be closed and its messages released.
  ~UcxWorker();
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  ucp_worker_h handle() const { return handle_; }
  // Readable when there is something to do after Arm(). UCX's; never to be read.
  int descriptor() const { return descriptor_; }

  // Moves on what is there, within a bound, so that a peer that floods it holds up no other worker.
  void Progress();
  // False: something is pending, Progress again instead of waiting.
  bool Arm();
  // An endpoint could not be created on it: it is leaked instead of destroyed, as UCX 1.13 then
  // frees memory twice (free(): invalid pointer in ucp_worker_iface_cleanup).
  void Spoil() { sound_ = false; }

  // Kept by the owner: what still needs this worker.
  size_t links = 0;     // endpoints not closed
  size_t closings = 0;  // endpoints being closed
  size_t lent = 0;      // messages not released

 private:
  UcxWorker() = default;

  ucp_worker_h handle_ = nullptr;
  int descriptor_ = -1;
  bool sound_ = true;
};

}  // namespace tessera
