#pragma once

// The queue in front of the routers: fair between keys, bounded, and honest early.
//
//   Enqueue --full?--> refused at once, with the time to come back
//           --room?--> start() at once
//           --else --> the key's line ... Pump() when there may be room --> start()
//
// Fairness is weighted fair queueing over tokens (start-time fair queueing: Goyal, Vin, Cheng
// 1996): a request begins at virtual time max(now, where its key's last one ended) and ends its
// cost divided by the key's weight later; the smallest beginning goes first. Priorities go before
// all of that, but a key's own requests keep their order within a priority.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"

namespace tessera::gateway {

struct AdmissionConfig {
  size_t requests_max = 1024;                    // that wait, of all keys
  size_t key_requests_max = 512;                 // of one key
  uint64_t tokens_max = 8 << 20;                 // that wait, of all keys
  absl::Duration wait_max = absl::Seconds(120);  // in the queue; then kDeadlineExceeded
};

struct AdmissionRequest {
  std::string key;                                     // name of the API key; empty without keys
  double weight = 1;                                   // of the key; > 0
  uint32_t tokens = 0;                                 // cost: prompt and tokens to produce
  int32_t priority = 0;                                // smaller goes first
  absl::Duration deadline = absl::InfiniteDuration();  // Clock::Elapsed; waiting ends there
  // Tries to hand the request to a router. kResourceExhausted: there is no room, it waits.
  // kUnavailable: there is no router; that refuses a new request and lets one wait that waits
  // already. Any other status is the end of its waiting. May be called from any thread, with the
  // queue's lock held: must not call the queue.
  std::function<absl::Status()> start;
  // It left the queue without having been started by start(): its time is over, or start() failed.
  // Called without locks.
  std::function<void(absl::Status)> refuse;
};

// Thread-safe.
class Admission {
 public:
  // `clock` and `registry` are borrowed; `labels` are those of its series.
  Admission(const AdmissionConfig& config, const Clock& clock, Registry& registry,
            const Registry::Labels& labels = {});

  // Started at once, or waits: then the number names it for Cancel (0: it has been started).
  //   kResourceExhausted  the queue is full; the status says when to come back
  //   kUnavailable        draining, or what start() said
  absl::StatusOr<uint64_t> Enqueue(AdmissionRequest request);
  // Takes a request that waits out of the queue; false: it is not there any more.
  bool Cancel(uint64_t number);
  // Starts what can be started. To be called when routers may have room.
  void Pump();
  // Ends waits that are over. To be called every few ten milliseconds.
  void Tick();
  // Called without locks after a request was taken, to wait or at once. Before the first Enqueue.
  void OnArrival(std::function<void()> callback) { on_arrival_ = std::move(callback); }
  // Refuses new requests, kUnavailable; what waits goes on.
  void Drain();

  size_t waiting_count() const;

 private:
  struct Entry {
    AdmissionRequest request;
    double begin = 0;  // virtual time
    absl::Duration queued_at;
  };
  // Order of service: priority, virtual beginning, arrival.
  using Place = std::tuple<int32_t, double, uint64_t>;
  struct Line {
    double end = 0;  // virtual time at which the key's last request ends
    size_t waiting = 0;
  };

  absl::StatusOr<uint64_t> TakeIn(AdmissionRequest request);
  absl::Status Refusal(const AdmissionRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How long a new request would wait, by what was started lately; between 1 s and a minute.
  absl::Duration EstimatedWait() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountStart(const Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Entry Take(const Place& place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetIdleLines() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const AdmissionConfig config_;
  const Clock& clock_;
  std::function<void()> on_arrival_;  // may be empty
  Gauge waiting_gauge_;
  Histogram wait_histogram_;

  mutable absl::Mutex mutex_;
  std::map<Place, Entry> queue_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, Place> places_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Line> lines_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t tokens_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  double virtual_time_ ABSL_GUARDED_BY(mutex_) = 0;  // beginning of the last one started
  // Tokens started a second, lately.
  double rate_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration rate_at_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tessera::gateway
