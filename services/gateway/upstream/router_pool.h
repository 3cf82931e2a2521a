#pragma once

// The routers of a gateway: which one takes a request, and what happens when it goes.
//
//   Submit --ready? prefix affinity, then least load--> router --events--> callback
//   router gone, draining or full: the request waits here with what it has produced, and is sent
//   again to another router or to the restarted one; positions and seed make it go on as if nothing
//   had happened.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "common/wire/generation_wire.h"
#include "services/gateway/upstream/router_client.h"

namespace tessera::gateway {

struct RouterPoolConfig {
  std::vector<std::string> addresses;  // host:port; not empty
  TlsFiles tls;
  // End a generation for good: the router that would have said so may be gone.
  std::vector<TokenId> eos_tokens;
  size_t affinity_tokens = 64;  // of the prompt decide which router is asked first
  // The preferred router is passed over when it has so many more sequences than the emptiest.
  uint32_t affinity_slack = 8;
  // A request that no router takes on again for so long fails, even before its deadline.
  absl::Duration resume_timeout = absl::Seconds(60);
  // For so long after a router was ready the pool is, though experts are missing: a restarted
  // router or shard brings them back meanwhile, and requests wait for them.
  absl::Duration unready_after = absl::Seconds(5);
  absl::Duration reconnect_min = absl::Milliseconds(50);
  absl::Duration reconnect_max = absl::Milliseconds(500);
};

// Gets a request's events: StartedEvent at most once, TokensEvents with consecutive indices from 0
// (each token once, whatever happened to routers), FinishedEvent once and last. Its request_id is
// the caller's. One call at a time; must not block or call the pool.
using TokenCallback = std::function<void(wire::TokenEvent event)>;

struct PoolRequest {
  wire::GenerationParams params;                       // its deadline is set here
  uint32_t cost_tokens = 0;                            // of a router's budget
  absl::Duration deadline = absl::InfiniteDuration();  // Clock::Elapsed
  TokenCallback callback;
};

struct RouterStatus {
  std::string address;
  bool is_up = false;
  RouterReport report;
};

// Thread-safe.
class RouterPool {
 public:
  // `clock` and `registry` are borrowed. Errors are those of the TLS files; kInvalidArgument
  // without an address.
  static absl::StatusOr<std::unique_ptr<RouterPool>> Open(const RouterPoolConfig& config,
                                                          const Clock& clock, Registry& registry);
  // Requests that run get no more events.
  ~RouterPool();

  // Called without locks whenever there may be room where there was none. Before the first Tick.
  void OnRoom(std::function<void()> callback) { on_room_ = std::move(callback); }

  // Connects, reconnects, sends waiting requests again and ends those whose time is over. To be
  // called every few ten milliseconds by one thread.
  void Tick();

  // What Submit would say now to a request of this cost.
  absl::Status CheckRoom(uint32_t cost_tokens) const;
  // Sends a request; the number names it for Cancel. A sampling seed is chosen if there is none.
  //   kUnavailable        no router is up
  //   kResourceExhausted  none has room for cost_tokens
  absl::StatusOr<uint64_t> Submit(PoolRequest request);
  // Ends a request at once; at most what was on its way to the callback still reaches it.
  void Cancel(uint64_t number);

  // The sum of what the routers say of their experts; `done` is called once, perhaps at once, else
  // from gRPC's threads within a second. kUnavailable: no router is up or told.
  void CollectExpertLoad(ExpertLoadDone done);

  std::vector<RouterStatus> Snapshot() const;
  // Why no request would run now or soon: no router is up, or what those that are say of themselves
  // for longer than unready_after. Empty: one would.
  std::vector<std::string> NotReadyReasons() const;
  // Every router is up and ready and no request is under way: nothing is due before OnRoom's call
  // or a request.
  bool is_settled() const;
  // Requests that were sent and have not ended, and those of them that wait for a router.
  size_t running_count() const;
  size_t waiting_count() const;

 private:
  struct Generation;
  class Router;
  using GenerationPtr = std::shared_ptr<Generation>;

  RouterPool(const RouterPoolConfig& config, const Clock& clock, Registry& registry);

  void OnEvent(Router& router, wire::TokenEvent event);
  void OnReport(Router& router, const RouterReport& report);
  void OnDown(Router& router, const absl::Status& status);
  void FinishGeneration(const GenerationPtr& generation, wire::FinishedEvent event);
  // The last call of a request's callback, after Forget.
  void TellEnd(const GenerationPtr& generation, wire::FinishedEvent event)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // True if the end can be told without a router.
  bool HasEnded(const wire::GenerationParams& params, wire::FinishedEvent& event) const;
  void Suspend(const GenerationPtr& generation, absl::Duration pause);
  void SendWaiting();

  // It neither runs nor waits from here on, and no event that comes later finds it. False: it was
  // forgotten before.
  bool Forget(const GenerationPtr& generation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The same, and the router that has it is told to end it.
  void Abandon(const GenerationPtr& given) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Requests are sent to routers that are ready; while none is, they wait at those that are up.
  std::vector<Router*> Candidates() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status NoRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Router* Choose(const Generation& generation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteReady(const Router& router) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SendTo(Router& router, const GenerationPtr& generation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RouterPoolConfig config_;
  const Clock& clock_;
  std::function<void()> on_room_;
  Gauge up_gauge_;
  Counter resumed_counter_;

  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<Router>> routers_;  // constant after Open; contents guarded
  absl::flat_hash_map<std::string, GenerationPtr> by_id_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, GenerationPtr> by_number_ ABSL_GUARDED_BY(mutex_);
  std::deque<GenerationPtr> waiting_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::Duration ready_at_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();  // last known
};

}  // namespace tessera::gateway
