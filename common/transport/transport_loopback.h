#pragma once

// Frames between objects of one process: the one-process mode, the tests, the simulation.
// Nothing is copied: the receiver reads the sender's memory. Faults are injected here.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/transport/fault_plan.h"
#include "common/transport/transport.h"

namespace tessera {

// Connects the transports it makes. Addresses are names; "" stands for a new one. Thread-safe.
// With a clock that is advanced by hand, delayed frames arrive when its time has come: call Tick
// after advancing it.
class LoopbackNetwork : public std::enable_shared_from_this<LoopbackNetwork> {
 public:
  // `clock` must outlive the network and its transports.
  static std::shared_ptr<LoopbackNetwork> Create(const Clock& clock, uint64_t seed);

  ~LoopbackNetwork();
  // The network lives as long as its transports.
  std::unique_ptr<Transport> MakeTransport();

  void Inject(const FaultRule& rule);
  void ClearFaults();
  uint64_t FaultHits(FaultKind kind) const;

  // The listener's process is gone: its links go down at both ends, its name is free again.
  void Kill(const std::string& listener);
  // The listener's process stands still: frames to and from it wait until Resume.
  void Hang(const std::string& listener);
  void Resume(const std::string& listener);

  // Wakes all sleepers.
  void Tick();
  // When the next frame that is under way arrives; InfiniteDuration if none is.
  absl::Duration NextArrival() const;

 private:
  friend class LoopbackTransport;
  struct Endpoint;  // one transport
  struct Link;      // one end of a connection
  struct Lent;      // memory of a frame at its receiver
  struct Item;      // an event on its way, with the memory of its frame
  using EndpointRef = std::shared_ptr<Endpoint>;

  LoopbackNetwork(const Clock& clock, uint64_t seed);

  absl::StatusOr<std::string> Listen(const EndpointRef& endpoint, const std::string& address);
  absl::StatusOr<LinkId> Open(const EndpointRef& endpoint, const std::string& address);
  bool Send(LinkId id, std::span<const std::byte> frame, std::shared_ptr<const void> memory,
            uint64_t token);
  void CloseLink(LinkId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void KillLocked(const std::string& listener) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Deliver(const EndpointRef& to, absl::Duration delay, Item item, bool wake)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DeliverFrame(const Link& link, std::span<const std::byte> frame, absl::Duration delay,
                    std::unique_ptr<Lent> lent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBack(std::unique_ptr<Lent> lent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(const EndpointRef& endpoint);

  const Clock& clock_;
  mutable absl::Mutex mutex_;
  FaultPlan faults_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_link_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t next_name_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::flat_hash_map<std::string, EndpointRef> listeners_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<LinkId, Link> links_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<EndpointRef> endpoints_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera
