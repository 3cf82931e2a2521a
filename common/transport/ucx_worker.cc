#include "common/transport/ucx_worker.h"

#include <string>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"

namespace tessera {
namespace {

constexpr int kProgressMax = 64;  // calls of ucp_worker_progress at a time

}  // namespace

absl::Status UcxError(std::string_view what, ucs_status_t status) {
  return absl::UnavailableError(
      absl::StrCat("UCX: ", std::string(what), ": ", ucs_status_string(status)));
}

absl::StatusOr<std::unique_ptr<UcxWorker>> UcxWorker::Create(ucp_context_h ucx, unsigned message,
                                                             ucp_am_recv_callback_t handler,
                                                             void* context) {
  auto worker = absl::WrapUnique(new UcxWorker);
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  if (const ucs_status_t s = ucp_worker_create(ucx, &params, &worker->handle_); s != UCS_OK) {
    worker->handle_ = nullptr;
    return UcxError("creating a worker", s);
  }
  ucp_am_handler_param_t am{};
  am.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                  UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
  am.id = message;
  am.flags = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA;
  am.cb = handler;
  am.arg = context;
  if (const ucs_status_t s = ucp_worker_set_am_recv_handler(worker->handle_, &am); s != UCS_OK) {
    return UcxError("setting the message handler", s);
  }
  if (const ucs_status_t s = ucp_worker_get_efd(worker->handle_, &worker->descriptor_);
      s != UCS_OK) {
    return UcxError("asking for the event descriptor", s);
  }
  return worker;
}

UcxWorker::~UcxWorker() {
  if (handle_ != nullptr && sound_) ucp_worker_destroy(handle_);
}

void UcxWorker::Progress() {
  for (int calls = 0; calls < kProgressMax && ucp_worker_progress(handle_) != 0; ++calls) {
  }
}

bool UcxWorker::Arm() {
  const ucs_status_t status = ucp_worker_arm(handle_);
  if (status != UCS_OK && status != UCS_ERR_BUSY) {
    TESSERA_LOG(ERROR) << UcxError("arming the worker", status).message();
  }
  return status == UCS_OK;
}

}  // namespace tessera
