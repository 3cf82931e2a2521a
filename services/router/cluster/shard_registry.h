#pragma once

// Which shards live and what they hold, as a state machine: time comes in as an argument, the
// placement map comes out as a snapshot. No gRPC, no threads, so that a simulation can use it.
//
//              Register                Heartbeat READY                Drain
//   (unknown) ─────────► loading ────────────────────────► ready ─────────────► draining
//       ▲                   └───────── silence, Lost ─────────┴──────────────────────┘
//       └──────────────────────────────────────────────────────────┘
//
// Only units of ready shards stand in the map; shards themselves stand there in every state.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/wire/model_identity_wire.h"
#include "common/wire/placement_wire.h"

namespace tessera::router {

// A (layer, expert) wherever it lies; ordered.
using Unit = std::pair<LayerIndex, ExpertId>;

struct ShardRegistryConfig {
  wire::ModelIdentity model;  // what every shard must hold
  bool strict = false;        // kernel levels must be equal too
  uint64_t epoch_first = 1;   // > 0; higher than what a router before this one published
  // Silence after which a shard leaves the map. This and the next are longer by the pause that the
  // last answer granted.
  absl::Duration lost_after = absl::Seconds(1);
  // A shard silent for so long, or suspected, gives way to another one with its id.
  absl::Duration replaceable_after = absl::Milliseconds(600);
  size_t shards_max = 1024;
  uint32_t slots_max = 1u << 24;  // of one shard
};

// Heartbeat as it arrives; `held` counts if `held_version` is newer than what is known.
struct ShardHeartbeat {
  ShardId shard{};
  uint64_t incarnation = 0;
  wire::ShardState state = wire::ShardState::kLoading;
  uint64_t held_version = 0;
  std::vector<wire::HeldUnit> held;
  float busy_ratio = 0;   // 0..1
  uint64_t sequence = 0;  // rises with each of an incarnation; 0: not told
  uint64_t calls_total = 0;
};

struct HeartbeatAnswer {
  Epoch epoch{};
  bool held_wanted = false;
  absl::Duration pause;  // by which the next one may come later
};

struct ShardCounts {
  size_t loading = 0;
  size_t ready = 0;
  size_t draining = 0;
  absl::Duration heartbeat_age_max;  // of the living
};

// Thread-compatible. `now` is Clock::Elapsed() and never goes back.
class ShardRegistry {
 public:
  explicit ShardRegistry(ShardRegistryConfig config);

  //   kFailedPrecondition  another model; both values are named
  //   kInvalidArgument     a descriptor without addresses, or units out of range or named twice
  //   kAlreadyExists       a living shard has this id
  //   kResourceExhausted   shards_max shards live
  // Returns the epoch after it. The same incarnation may register again; what of it is hidden stays
  // so. `sequence`: of the last heartbeat it sent to anybody; that and earlier ones are repeats.
  absl::StatusOr<Epoch> Register(const wire::ModelIdentity& model, wire::ShardDescriptor shard,
                                 absl::Duration now, uint64_t sequence = 0);
  //   kNotFound            this incarnation is not registered: register again
  //   kInvalidArgument     as in Register; the shard keeps what it had
  //   kUnauthenticated     a heartbeat of this or a higher sequence came before: somebody repeats
  //   it
  // A shard that computed nothing since its last one is granted a pause of `idle_pause`.
  absl::StatusOr<HeartbeatAnswer> Heartbeat(ShardHeartbeat heartbeat, absl::Duration now,
                                            absl::Duration idle_pause = absl::ZeroDuration());
  // Its units leave the map, for good as far as this incarnation goes. `incarnation` 0: whichever
  // lives. kNotFound as above. Returns the first epoch without them.
  absl::StatusOr<Epoch> Drain(ShardId shard, uint64_t incarnation);
  // A connection to it broke: another incarnation may take its place at once.
  void Suspect(ShardId shard, uint64_t incarnation);
  // Nobody answers at its address: it leaves the map now. False: not this incarnation.
  bool Lost(ShardId shard, uint64_t incarnation);
  // What it holds, learnt otherwise than by a heartbeat; ignored if something newer is known: a
  // heartbeat from before a load may come after the load's answer. kNotFound, kInvalidArgument.
  absl::Status SetHeld(ShardId shard, uint64_t incarnation, uint64_t held_version,
                       std::vector<wire::HeldUnit> held);
  // Takes copies out of the map before the shard lets them go; unknown ones are ignored. A copy
  // that is no longer held is forgotten here. kNotFound.
  absl::Status Hide(ShardId shard, uint64_t incarnation, std::span<const Unit> units);
  // Puts hidden copies back.
  void Unhide(ShardId shard, std::span<const Unit> units);
  // Removes shards that were silent for too long; returns them.
  std::vector<ShardId> Tick(absl::Duration now);
  // The first time at which Tick would remove one, if nobody is heard of before; infinite: none
  // lives.
  absl::Duration SilentAt() const;

  // Null if no shard of this id lives. Valid until the next change. `held` is complete, hidden
  // copies included.
  const wire::ShardDescriptor* Find(ShardId shard) const;
  // Never null. A new one, with a higher epoch, exists exactly if the map changed.
  std::shared_ptr<const wire::PublishedPlacement> Snapshot() const { return snapshot_; }
  ShardCounts Counts(absl::Duration now) const;
  // As its last heartbeat told; 0 if none did.
  float BusyRatio(ShardId shard) const;
  const ShardRegistryConfig& config() const { return config_; }

 private:
  struct Member {
    wire::ShardDescriptor shard;
    std::set<Unit> hidden;
    absl::Duration heard_at;
    absl::Duration pause;  // as the last answer granted it
    float busy_ratio = 0;
    uint64_t calls_total = 0;
    uint64_t sequence = 0;    // of its last heartbeat, to whomever
    bool held_asked = false;  // the last answer wanted `held`
    bool suspected = false;
    bool drained = false;  // says draining whatever its heartbeats tell
  };

  absl::Status CheckHeld(const wire::ShardDescriptor& shard) const;
  absl::Status CheckDescriptor(const wire::ShardDescriptor& shard) const;
  absl::StatusOr<Member*> FindMember(ShardId shard, uint64_t incarnation);
  void TakeHeld(Member& member, std::vector<wire::HeldUnit> held);
  // Publishes if something differs from the snapshot.
  void Publish();

  const ShardRegistryConfig config_;  // constant after construction
  std::map<ShardId, Member> members_;
  std::shared_ptr<const wire::PublishedPlacement> snapshot_;
};

}  // namespace tessera::router
