#pragma once

// Changes what a shard holds while it serves, one request after the other, on a thread of its own.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/thread.h"
#include "services/expert_shard/experts/expert_store.h"

namespace tessera::expert_shard {

// A unit and where it is to be, or is.
struct UnitInSlot {
  ExpertUnit unit;
  uint32_t slot = 0;
  std::string peer;  // gRPC address of a shard that holds it; may be empty
};

struct LoadOrder {
  std::vector<UnitInSlot> load;       // what is held already, in whatever slot, is left where it is
  std::vector<UnitInSlot> drop;       // after the loads; what is not there is ignored
  uint64_t bytes_per_second_max = 0;  // of reading; 0: as fast as it goes
  // Whoever gave it counts it as failed: nothing more is loaded, and above all nothing dropped that
  // the map may list again. Called by the loader's thread; may be empty.
  std::function<bool()> is_cancelled;
};

struct LoadOutcome {
  uint64_t read_bytes = 0;
  absl::Duration took;
};
// PeerUnits::Fetch.
using PeerSource =
    std::function<absl::Status(const std::string& peer, const ExpertUnit& unit,
                               uint64_t weights_version, std::span<std::byte> bytes)>;
using LoadDone = std::function<void(absl::StatusOr<LoadOutcome>)>;

// Thread-safe.
class UnitLoader {
 public:
  // `changed` is called after each unit that came or went; `peers` is asked for units that the
  // checkpoint does not give, if their order names a peer. References are borrowed.
  UnitLoader(ExpertStore& store, const Clock& clock, std::function<void()> changed,
             PeerSource peers = {});
  ~UnitLoader() { Stop(); }

  // `done` is called once, by the loader's thread or, where the order is refused, by this one:
  //   kResourceExhausted  a slot is taken, or too many orders wait
  //   kUnavailable        the shard stops
  //   kCancelled          the order is
  //   and the errors of ExpertStore::Load. What was loaded before an error stays.
  void Submit(LoadOrder order, LoadDone done);
  // Lets the unit under way finish; all that waits ends kUnavailable.
  void Stop();

 private:
  struct Job {
    LoadOrder order;
    LoadDone done;
  };
  static constexpr size_t kJobsMax = 256;

  absl::StatusOr<LoadOutcome> Run(const LoadOrder& order);
  // Waits until `read_bytes` since `start` are no more than the order allows. An error: the order
  // ends here.
  absl::Status KeepPace(const LoadOrder& order, absl::Duration start, uint64_t read_bytes);

  ExpertStore& store_;
  const Clock& clock_;
  const std::function<void()> changed_;
  const PeerSource peers_;
  BoundedQueue<Job> jobs_{kJobsMax};
  absl::Notification stopping_;
  Thread thread_;
};

}  // namespace tessera::expert_shard
