#include "services/router/cluster/shard_sessions.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/log.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

// "ucx:[::1]:8021" to "[::1]:8021".
absl::StatusOr<std::string> AddressOf(const std::string& data_address, const std::string& scheme) {
  absl::string_view address = data_address;
  if (!absl::ConsumePrefix(&address, absl::StrCat(scheme, ":"))) {
    return absl::FailedPreconditionError(absl::StrCat("the shard's data address is ", data_address,
                                                      ", this router's transport reaches ", scheme,
                                                      ": addresses"));
  }
  return std::string(address);
}

// No attempt of the same shard is worth a line each time.
bool WorthALine(int failures) { return (failures & (failures - 1)) == 0; }

// Rows that never leave the memory of this box need no checksum: it is half of what a small call
// costs (15 us against 6 for one row of 6 KB). Headers always have theirs.
bool StaysInMemory(std::string_view scheme, std::string_view address) {
  return scheme == "shm" ||
         (scheme == "ucx" && (address.starts_with("127.") || address.starts_with("[::1]") ||
                              address.starts_with("localhost:")));
}

}  // namespace

ShardSessions::ShardSessions(ShardSessionsConfig config, ExchangeClient& exchange,
                             const Clock& clock, SessionCallbacks callbacks)
    : config_(std::move(config)),
      exchange_(exchange),
      clock_(clock),
      callbacks_(std::move(callbacks)),
      view_(std::make_shared<const ClusterView>()),
      published_(std::make_shared<const wire::PublishedPlacement>()),
      jitter_(config_.incarnation) {}

void ShardSessions::PublishView() {
  auto view = std::make_shared<ClusterView>();
  view->version = ++version_;
  view->placement = published_->placement;
  for (const auto& [id, session] : sessions_) {
    if (!session->link) continue;
    view->links.resize(ToIndex(id) + 1);
    view->links[ToIndex(id)] = session->link;
  }
  std::erase_if(views_, [](const auto& entry) { return entry.second.expired(); });
  views_.emplace_back(version_, view);
  view_.Publish(std::move(view));
  exchange_.Interrupt();
}

void ShardSessions::Unlink(Session& session) {
  if (session.link) session.closing.push_back(session.link->peer);
  session.link.reset();
  if (session.calls != nullptr) session.calls->Cancel();
  session.calls.reset();
  session.retry_at = clock_.Elapsed();
}

void ShardSessions::SetPlacement(std::shared_ptr<const wire::PublishedPlacement> published) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  published_ = std::move(published);
  std::map<ShardId, const wire::ShardDescriptor*> described;
  for (const wire::ShardDescriptor& shard : published_->shards) described[shard.shard] = &shard;
  for (auto& [id, session] : sessions_) {
    const auto it = described.find(id);
    const bool same_life = it != described.end() && session->target &&
                           session->target->incarnation == it->second->incarnation;
    if (!same_life) {
      Unlink(*session);
      session->target.reset();
      session->failures = 0;
    }
  }
  for (const auto& [id, shard] : described) {
    std::unique_ptr<Session>& session = sessions_[id];
    const bool fresh = session == nullptr;
    if (fresh) session = std::make_unique<Session>();
    session->shard = id;
    // A draining shard keeps its link for the calls under way; a loading one gets none yet.
    if (shard->state == wire::ShardState::kReady || session->target) session->target = *shard;
    if (fresh) {
      session->thread = Thread(absl::StrCat("cluster-", ToIndex(id)),
                               [this, s = session.get()](std::stop_token) { Run(*s); });
    }
  }
  PublishView();
}

void ShardSessions::ReportDown(PeerId peer, const absl::Status& why) {
  ShardId shard{};
  uint64_t incarnation = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = std::find_if(sessions_.begin(), sessions_.end(), [peer](const auto& entry) {
      return entry.second->link && entry.second->link->peer == peer;
    });
    if (it == sessions_.end()) return;
    shard = it->first;
    incarnation = it->second->link->incarnation;
    Unlink(*it->second);
    PublishView();
  }
  TESSERA_LOG(WARNING) << "shard " << ToIndex(shard) << " is out of reach (" << why.message()
                       << "); its calls go elsewhere while we connect again";
  if (callbacks_.on_down) callbacks_.on_down(shard, incarnation);
}

void ShardSessions::CheckLinks() {
  const std::shared_ptr<const ClusterView> view = View();
  for (const std::optional<ShardLink>& link : view->links) {
    if (link && !exchange_.GreetingOf(link->peer).ok()) {
      ReportDown(link->peer, absl::UnavailableError("the connection ended"));
    }
  }
}

void ShardSessions::Load(ShardId shard, uint64_t incarnation, LoadOrder order, LoadDone done) {
  absl::Status refused = absl::UnavailableError("the shard is not connected");
  {
    absl::MutexLock lock(&mutex_);
    const auto it = sessions_.find(shard);
    if (stopping_) {
      refused = absl::CancelledError("the router stops");
    } else if (it != sessions_.end() && it->second->link &&
               it->second->link->incarnation == incarnation) {
      it->second->jobs.push_back({incarnation, std::move(order), std::move(done)});
      return;
    }
  }
  done(refused);
}

bool ShardSessions::AwaitViewAfter(uint64_t version, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  const auto newer = [this, version]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return version_ > version || stopping_;
  };
  mutex_.AwaitWithTimeout(absl::Condition(&newer), timeout);
  return version_ > version;
}

bool ShardSessions::OlderViewsGone(uint64_t version) {
  absl::MutexLock lock(&mutex_);
  return std::all_of(views_.begin(), views_.end(), [version](const auto& entry) {
    return entry.first >= version || entry.second.expired();
  });
}

uint32_t ShardSessions::CallsInFlight(ShardId shard) const {
  const std::shared_ptr<const ClusterView> view = View();
  const ShardLink* link = view->LinkOf(shard);
  return link == nullptr ? 0 : exchange_.LoadOf(link->peer).calls;
}

bool ShardSessions::HasTask(const Session& session) const {
  return stopping_ || !session.closing.empty() || !session.jobs.empty() ||
         (session.target && session.target->state == wire::ShardState::kReady && !session.link &&
          clock_.Elapsed() >= session.retry_at);
}

ShardSessions::Task ShardSessions::NextTask(Session& session) {
  absl::MutexLock lock(&mutex_);
  const auto has_task = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return HasTask(session); };
  // Until the next attempt is due, or something is asked.
  while (!HasTask(session)) {
    const bool waits =
        session.target && session.target->state == wire::ShardState::kReady && !session.link;
    mutex_.AwaitWithTimeout(absl::Condition(&has_task),
                            waits ? session.retry_at - clock_.Elapsed() : absl::InfiniteDuration());
  }
  Task task;
  task.stop = stopping_;
  task.closing = std::exchange(session.closing, {});
  const bool linked = session.link.has_value() && !stopping_;
  while (!session.jobs.empty()) {
    Job job = std::move(session.jobs.front());
    session.jobs.pop_front();
    if (linked && job.incarnation == session.link->incarnation) {
      task.job = std::move(job);
      task.calls = session.calls;
      break;
    }
    task.failed.push_back(std::move(job));
  }
  if (!task.stop && !task.job && !session.link && session.target &&
      session.target->state == wire::ShardState::kReady && clock_.Elapsed() >= session.retry_at) {
    task.connect = session.target;
  }
  return task;
}

void ShardSessions::Run(Session& session) {
  for (;;) {
    Task task = NextTask(session);
    for (const PeerId peer : task.closing) exchange_.Disconnect(peer);
    for (Job& job : task.failed) {
      job.done(task.stop ? absl::CancelledError("the router stops")
                         : absl::UnavailableError("the connection to the shard broke"));
    }
    if (task.stop) return;
    if (task.job) {
      // In two steps: `done` may give the next order.
      const LoadDone done = std::move(task.job->done);
      const LoadOrder& order = task.job->order;
      const absl::Duration reading =
          ReadTimeMax(order.load.size(), config_.offer.model, order.bytes_per_second_max);
      done(task.calls->LoadExperts(order, config_.load_timeout + reading));
    }
    if (task.connect) Connect(session, *task.connect);
  }
}

absl::StatusOr<ShardLink> ShardSessions::OpenLink(Session& session,
                                                  const wire::ShardDescriptor& target,
                                                  bool& process_gone) {
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<ShardCalls> calls,
                           ShardCalls::Create(target.grpc_address, config_.secret, config_.tls));
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return absl::CancelledError("the router stops");
    session.calls = calls;
  }
  const SessionOffer& offer = config_.offer;
  absl::StatusOr<SessionGrant> granted = calls->OpenSession(offer, config_.session_timeout);
  process_gone = absl::IsUnavailable(granted.status());
  TESSERA_ASSIGN_OR_RETURN(const SessionGrant grant, std::move(granted));
  if (grant.incarnation != target.incarnation) {
    return absl::UnavailableError(
        absl::StrCat(target.grpc_address, " is another life of the shard: incarnation ",
                     grant.incarnation, ", the placement has ", target.incarnation));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::string address,
                           AddressOf(grant.data_address, config_.data_scheme));
  wire::Hello hello;
  hello.session = offer.session;
  hello.incarnation = config_.incarnation;
  hello.token = grant.token;
  TESSERA_ASSIGN_OR_RETURN(hello.model_hash, wire::ToModelHash(offer.model.model_hash));
  hello.geometry = {.d_model = offer.model.d_model,
                    .layer_count = offer.model.layer_count,
                    .expert_count = offer.model.expert_count,
                    .rows_max = grant.rows_max,
                    .pairs_max = grant.rows_max * offer.model.top_k,
                    .dtype_up = offer.dtype_up,
                    .dtype_down = offer.dtype_down,
                    .strict = offer.strict};
  hello.credits = grant.credits;
  hello.kernel_level = wire::KernelLevelNumber(offer.model.kernel_level);
  hello.checksum_payload = !StaysInMemory(config_.data_scheme, address);
  TESSERA_ASSIGN_OR_RETURN(const PeerId peer,
                           exchange_.Connect(address, hello, config_.connect_timeout));
  return ShardLink{target.shard, target.incarnation, peer, hello.geometry};
}

void ShardSessions::Connect(Session& session, const wire::ShardDescriptor& target) {
  bool process_gone = false;
  const absl::StatusOr<ShardLink> link = OpenLink(session, target, process_gone);
  if (!link.ok()) return OnFailure(session, target, link.status(), process_gone);
  {
    absl::MutexLock lock(&mutex_);
    session.failures = 0;
    if (stopping_ || !session.target || session.target->incarnation != target.incarnation) {
      session.closing.push_back(link->peer);  // it left the map meanwhile
      return;
    }
    session.link = *link;
    PublishView();
  }
  TESSERA_LOG(INFO) << "shard " << ToIndex(target.shard) << " connected over "
                    << exchange_.Describe(link->peer) << " at " << target.data_address;
  if (callbacks_.on_connected) callbacks_.on_connected(target.shard, target.incarnation);
}

void ShardSessions::OnFailure(Session& session, const wire::ShardDescriptor& target,
                              const absl::Status& status, bool process_gone) {
  int failures = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_ || !session.target || session.target->incarnation != target.incarnation) return;
    session.calls.reset();
    failures = ++session.failures;
    const absl::Duration pause =
        std::min(config_.reconnect_max, config_.reconnect_min * (1 << std::min(failures - 1, 16)));
    session.retry_at = clock_.Elapsed() + pause * (1 - 0.5 * jitter_.Uniform());
  }
  if (WorthALine(failures)) {
    TESSERA_LOG(WARNING) << "shard " << ToIndex(target.shard) << " cannot be reached, attempt "
                         << failures << ": " << status.ToString() << "; trying again";
  }
  if (callbacks_.on_unreachable) {
    callbacks_.on_unreachable(target.shard, target.incarnation, status, process_gone);
  }
}

void ShardSessions::Stop() {
  std::vector<Session*> sessions;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    for (auto& [id, session] : sessions_) {
      Unlink(*session);
      sessions.push_back(session.get());
    }
    PublishView();
  }
  for (Session* session : sessions) session->thread.Stop();
}

}  // namespace tessera::router
