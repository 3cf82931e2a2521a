#pragma once

// Who may open a data connection: what was agreed in OpenSession, until the HELLO that carries its
// token arrives.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/wire/hello_wire.h"
#include "common/wire/model_identity_wire.h"

namespace tessera::expert_shard {

// What this end is.
struct SessionLimits {
  wire::ModelIdentity model;
  uint64_t incarnation = 0;
  uint32_t credits_max = 4;  // calls of one router at a time, 1..wire::kCreditsMax
  uint32_t rows_max = 2048;  // rows of a call
  size_t routers_max = 128;  // connections, and sessions waiting for theirs
  absl::Duration token_life = absl::Seconds(10);
};

// OpenSession as it came.
struct SessionRequest {
  wire::ModelIdentity model;  // an empty expert_dtype: the router takes any
  uint32_t frame_version = 0;
  uint32_t session = 0;
  uint32_t credits_wanted = 0;
  uint32_t rows_max = 0;
  bool strict = false;
  wire::RowDType rows_up = wire::RowDType::kF32;
  wire::RowDType rows_down = wire::RowDType::kF32;
};

struct SessionGrant {
  wire::SessionToken token{};
  uint32_t credits = 0;
  uint32_t rows_max = 0;
};

// Thread-safe.
class SessionTable {
 public:
  // router_count: connections that are open now. It is called without a lock of this object.
  SessionTable(const SessionLimits& limits, const Clock& clock,
               std::function<size_t()> router_count);

  //   kInvalidArgument     session, credits or rows are 0
  //   kFailedPrecondition  frame versions, models or (strict mode) kernel levels differ: both
  //                        values are in the message
  //   kResourceExhausted   routers_max connections and sessions
  absl::StatusOr<SessionGrant> Open(const SessionRequest& request);

  // The check of a greeting. A token opens one connection within token_life.
  //   kUnauthenticated     no such token, used, or too old
  //   kFailedPrecondition  the greeting is not what was agreed; both values are in the message
  absl::StatusOr<wire::Hello> Greet(const wire::Hello& theirs);

  const SessionLimits& limits() const { return limits_; }
  size_t waiting_count() const;

 private:
  struct Session {
    wire::Hello expected;  // token, session, geometry, credits...
    absl::Duration opened_at;
  };
  void ForgetOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SessionLimits limits_;  // constant after construction
  const Clock& clock_;
  const std::function<size_t()> router_count_;

  mutable absl::Mutex mutex_;
  std::vector<Session> waiting_ ABSL_GUARDED_BY(mutex_);  // ascending opened_at
};

}  // namespace tessera::expert_shard
