#pragma once

// The engine thread: requests in, steps, events out.
//
//   Submit ─► inbox ─► scheduler ─► Step ─► book ─► streams ─► readers
//
// What a failed step means for requests:
//   experts that nobody holds   requests that allow it go on without them; the others that need
//                               them are parked, everybody else goes on. Parked ones are tried
//                               again when the cluster changes, at the latest after park_max, and
//                               wait until their deadline or experts_wait_max
//   an answer that is too late  the requests of the step are parked, whatever they allow
//   an answer that is wrong     the requests of the step end with it
// Nothing advances in a failed step, so no token is lost or comes twice.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/thread.h"
#include "common/metrics/metrics.h"
#include "common/wire/generation_wire.h"
#include "services/router/cluster/shard_directory.h"
#include "services/router/engine/engine.h"
#include "services/router/loop/load_board.h"
#include "services/router/loop/request_book.h"
#include "services/router/scheduler/scheduler.h"

namespace tessera::router {

struct EngineLoopConfig {
  size_t inbox_max = 256;    // requests on their way to the engine; more are refused; > 0
  size_t waiting_max = 256;  // as the scheduler's
  size_t vocab = 0;          // tokens are below; > 0
  uint64_t seed = 0;         // of the seeds of requests that bring none
  absl::Duration experts_wait_max = absl::Seconds(60);  // for requests without a deadline
  absl::Duration park_max = absl::Seconds(1);
  // How often a loop without work looks at cancels, deadlines and the cluster: with open requests,
  // and without, when only the load that gateways are told of may change.
  absl::Duration look_interval = absl::Milliseconds(5);
  absl::Duration idle_interval = absl::Seconds(1);
};

// All borrowed; the loop's thread is the only one that uses engine and scheduler.
struct EngineLoopRooms {
  Engine& engine;
  Scheduler& scheduler;
  RequestBook& book;
  LoadBoard& board;
  const Clock& clock;
  Registry& registry;
  const ShardDirectory* directory = nullptr;  // null: the cluster never changes
  std::function<void()> look_around;          // called while no step runs; may be empty
};

class EngineLoop {
 public:
  EngineLoop(const EngineLoopConfig& config, const EngineLoopRooms& rooms);
  ~EngineLoop();  // Stop
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  // Starts the thread; once.
  void Start();

  // Thread-safe from here on.

  // `wake` as RequestStream's. Refused at once:
  //   kInvalidArgument    a token, a range or a combination; says which
  //   kResourceExhausted  too many requests are on their way; come back later
  //   kUnavailable        draining or stopped; go elsewhere
  // Whatever is found out later (too long, no room to wait) comes as the stream's Finished.
  absl::StatusOr<std::shared_ptr<RequestStream>> Submit(wire::GenerationParams params,
                                                        std::function<void()> wake);
  // Every request with this id; false: there is none.
  bool Cancel(const std::string& request_id) { return rooms_.book.Cancel(request_id); }

  // Refuses new requests; those that are here go on.
  void Drain();
  // Waits until no request is left. False: `timeout` passed first.
  bool AwaitIdle(absl::Duration timeout) const { return rooms_.book.AwaitEmpty(timeout); }
  // Ends what is left with kUnavailable, so that gateways send it elsewhere, and joins the thread.
  void Stop();

  // Why nothing can be computed any more (the weights changed on disk); OK: it can.
  absl::Status health() const;

 private:
  struct Admission {
    std::unique_ptr<Sequence> sequence;
    std::shared_ptr<RequestStream> stream;
    absl::Duration arrived;
    bool wants_logprobs = false;
  };
  struct Parked {
    SequenceId id{};
    absl::Duration since;  // stalled without a token between
  };
  struct Metrics {
    explicit Metrics(Registry& registry);
    Counter submitted;
    Counter refused;
    Counter stalls;
    Gauge running;
    Gauge waiting;
    Gauge parked;
    Gauge kv_used_ratio;
    Counter preemptions;
    Counter prompt_tokens_cached;
    Counter prompt_tokens_looked_up;
    Counter kv_evictions;
    Counter tokens_recomputed;
  };

  void Run(const std::stop_token& stop);
  void TakeInbox(absl::Duration wait);
  void Admit(Admission admission);
  void CancelFlagged();
  void EndOverdue();
  void UnparkWhenDue();
  void StepOnce();
  void OnStepFailed(const absl::Status& status, uint64_t version_before);
  void EndAll();
  void ShowLoad();
  uint64_t ClusterVersion() const;

  const EngineLoopConfig config_;  // constant after construction
  const EngineLoopRooms rooms_;

  BoundedQueue<Admission> inbox_;
  std::atomic<uint64_t> next_id_ = 1;
  std::atomic<bool> draining_ = false;
  Metrics metrics_;  // any thread; Submit counts what it takes and refuses

  // Owned by the engine thread.
  std::vector<Parked> parked_;
  uint64_t parked_version_ = 0;  // of the cluster when the first was parked
  absl::Duration unpark_at_;
  SchedulerStats shown_;  // what the counters have

  mutable absl::Mutex mutex_;
  absl::Status health_ ABSL_GUARDED_BY(mutex_);

  Thread thread_;  // last: it uses the others
};

}  // namespace tessera::router
