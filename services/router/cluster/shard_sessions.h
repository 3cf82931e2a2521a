#pragma once

// The router's sessions with the shards of a placement, and the view that dispatch reads.
//
//   placement ─► per ready shard: Greet, OpenSession ─► ExchangeClient::Connect ─► link in the view
//                      ▲                                                             │
//                      └──── after a pause that grows, with jitter ◄──── ReportDown ─┘
//
// Each shard has a thread of its own for what blocks (greeting, connecting, loading), so a shard
// that hangs delays nobody else. A view is published by whoever learnt of the change, at once.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
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
#include "common/base/random.h"
#include "common/concurrency/snapshot.h"
#include "common/concurrency/thread.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/tls_files.h"
#include "common/transport/exchange_client.h"
#include "common/wire/placement_wire.h"
#include "services/router/cluster/shard_calls.h"
#include "services/router/cluster/shard_directory.h"

namespace tessera::router {

struct ShardSessionsConfig {
  SessionOffer offer;
  uint64_t incarnation = 1;  // of this router; > 0
  std::string data_scheme =
      "ucx";  // of the ExchangeClient's transport; shards with another are not reached
  ClusterSecret secret;
  TlsFiles tls;
  absl::Duration session_timeout = absl::Milliseconds(800);  // Greet and OpenSession
  absl::Duration connect_timeout = absl::Milliseconds(500);  // HELLO
  // LoadExperts, and ReadTimeMax of what it orders: who gives up before the shard is done finds
  // copies later that nobody planned.
  absl::Duration load_timeout = absl::Seconds(60);
  // Pauses between attempts double from the first to the second, shortened by up to a half.
  absl::Duration reconnect_min = absl::Milliseconds(20);
  absl::Duration reconnect_max = absl::Seconds(1);
};

// What happened to a shard, told without a lock held, from any thread. `incarnation` says which
// life of it.
struct SessionCallbacks {
  std::function<void(ShardId, uint64_t incarnation)> on_connected;
  std::function<void(ShardId, uint64_t incarnation)> on_down;  // its link broke
  // An attempt to connect failed; `process_gone`: nobody answers at its gRPC address.
  std::function<void(ShardId, uint64_t incarnation, const absl::Status&, bool process_gone)>
      on_unreachable;
};

// Thread-safe.
class ShardSessions {
 public:
  // Exactly one call per order, from the shard's thread or, if it cannot begin, from Load's caller.
  using LoadDone = std::function<void(absl::StatusOr<LoadOutcome>)>;

  // `exchange` and `clock` must outlive it.
  ShardSessions(ShardSessionsConfig config, ExchangeClient& exchange, const Clock& clock,
                SessionCallbacks callbacks);
  ~ShardSessions() { Stop(); }

  // Links of shards that are no longer described, or in another life, leave the view with it.
  void SetPlacement(std::shared_ptr<const wire::PublishedPlacement> published);
  std::shared_ptr<const ClusterView> View() const { return view_.Read(); }
  // The link leaves the view at once; unknown peers are ignored.
  void ReportDown(PeerId peer, const absl::Status& why);
  // Reports links that the exchange lost while nobody was waiting for its events.
  void CheckLinks();
  // Queues an order for a shard in this life. kUnavailable: it has no link, or loses it meanwhile.
  void Load(ShardId shard, uint64_t incarnation, LoadOrder order, LoadDone done);

  // Waits for a view newer than `version`. False: `timeout` passed or stopped.
  bool AwaitViewAfter(uint64_t version, absl::Duration timeout) const;
  // Nobody holds a view older than `version` any more.
  bool OlderViewsGone(uint64_t version);
  // Calls in flight to a shard; 0 if it has no link.
  uint32_t CallsInFlight(ShardId shard) const;

  // Ends calls and threads; orders not done fail with kCancelled. The last view has no links.
  void Stop();

 private:
  struct Job {
    uint64_t incarnation = 0;
    LoadOrder order;
    LoadDone done;
  };
  struct Session {  // guarded by mutex_
    ShardId shard{};
    std::optional<wire::ShardDescriptor> target;  // who to be connected to, if anybody
    std::optional<ShardLink> link;
    std::shared_ptr<ShardCalls> calls;  // of the link, or of the attempt under way
    std::vector<PeerId> closing;        // links to end
    std::deque<Job> jobs;
    absl::Duration retry_at;
    int failures = 0;  // since the last success
    Thread thread;
  };
  // What a session's thread does next, outside of the lock.
  struct Task {
    std::vector<PeerId> closing;
    std::optional<wire::ShardDescriptor> connect;
    std::optional<Job> job;
    std::shared_ptr<ShardCalls> calls;
    std::vector<Job> failed;  // for want of a link
    bool stop = false;
  };

  void Run(Session& session);
  Task NextTask(Session& session);
  bool HasTask(const Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Connect(Session& session, const wire::ShardDescriptor& target);
  absl::StatusOr<ShardLink> OpenLink(Session& session, const wire::ShardDescriptor& target,
                                     bool& process_gone);
  void OnFailure(Session& session, const wire::ShardDescriptor& target, const absl::Status& status,
                 bool process_gone);
  // Takes the link out; its thread ends it.
  void Unlink(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PublishView() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ShardSessionsConfig config_;  // constant after construction
  ExchangeClient& exchange_;
  const Clock& clock_;
  const SessionCallbacks callbacks_;
  Snapshot<ClusterView> view_;

  mutable absl::Mutex mutex_;
  std::shared_ptr<const wire::PublishedPlacement> published_ ABSL_GUARDED_BY(mutex_);
  std::map<ShardId, std::unique_ptr<Session>> sessions_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::pair<uint64_t, std::weak_ptr<const ClusterView>>> views_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  Random jitter_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tessera::router
