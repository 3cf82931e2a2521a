#include "services/gateway/upstream/router_pool.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/status.h"

namespace tessera::gateway {
namespace {

// A router that is full without saying for how long.
constexpr absl::Duration kPauseWhenFull = absl::Milliseconds(100);
constexpr absl::Duration kLoadTimeout = absl::Seconds(1);
constexpr char kNoRouter[] = "no router is connected";

uint64_t HashOfText(std::string_view text) {
  uint64_t hash = 0x7e55e7a;
  for (const char c : text) hash = MixBits(hash ^ static_cast<unsigned char>(c));
  return hash;
}

uint64_t PrefixHash(const wire::GenerationParams& params, size_t token_count) {
  uint64_t hash = HashOfText(params.cache_salt);
  for (size_t i = 0; i < std::min(token_count, params.prompt.size()); ++i) {
    hash = MixBits(hash ^ static_cast<uint64_t>(params.prompt[i]));
  }
  return hash;
}

wire::FinishedEvent ErrorEnd(absl::Status status) {
  return {.kind = wire::FinishKind::kError, .error = std::move(status)};
}

}  // namespace

// A request that was sent and has not ended. Locks are taken in the order pool, delivery.
struct RouterPool::Generation {
  // Constant.
  uint64_t number = 0;
  std::string caller_id;
  uint32_t cost_tokens = 0;
  absl::Duration deadline;
  uint64_t prefix_hash = 0;
  TokenCallback callback;

  // Guarded by the pool's mutex.
  Router* router = nullptr;  // null: waits for one
  std::string sent_id;
  uint32_t attempts = 0;
  absl::Duration retry_at;

  absl::Mutex delivery;                                     // held over the callback
  wire::GenerationParams params ABSL_GUARDED_BY(delivery);  // produced grows
  bool started ABSL_GUARDED_BY(delivery) = false;
  bool finished ABSL_GUARDED_BY(delivery) = false;
  absl::Duration give_up_at ABSL_GUARDED_BY(delivery) = absl::InfiniteDuration();
};

// What the pool knows of one router; guarded by the pool's mutex, but for the client.
class RouterPool::Router final : public RouterEvents {
 public:
  Router(RouterPool& pool, std::string at)
      : address(std::move(at)), address_hash(HashOfText(address)), pool_(pool) {}

  void OnEvent(wire::TokenEvent event) override { pool_.OnEvent(*this, std::move(event)); }
  void OnReport(const RouterReport& new_report) override { pool_.OnReport(*this, new_report); }
  void OnDown(absl::Status status) override { pool_.OnDown(*this, status); }

  uint64_t sequences() const {
    return uint64_t{report.sequences_running} + report.sequences_waiting + sent_since_report;
  }
  bool HasRoom(uint32_t cost_tokens) const {
    // An idle router takes anything: a request over its whole budget has to run some time.
    return sequences() == 0 || tokens_since_report + cost_tokens <= report.tokens_free;
  }

  const std::string address;
  const uint64_t address_hash;
  bool is_up = false;
  RouterReport report;
  uint64_t tokens_since_report = 0;
  uint32_t sent_since_report = 0;
  absl::Duration reconnect_at = -absl::InfiniteDuration();
  absl::Duration reconnect_pause;
  std::unique_ptr<RouterClient> client;  // last: it ends before what it tells about

 private:
  RouterPool& pool_;
};

RouterPool::RouterPool(const RouterPoolConfig& config, const Clock& clock, Registry& registry)
    : config_(config),
      clock_(clock),
      up_gauge_(registry.AddGauge("tessera_gateway_routers_up", "Routers that take requests.")),
      resumed_counter_(registry.AddCounter(
          "tessera_gateway_requests_resumed_total",
          "Times a running request went on at another or a restarted router.")) {}

absl::StatusOr<std::unique_ptr<RouterPool>> RouterPool::Open(const RouterPoolConfig& config,
                                                             const Clock& clock,
                                                             Registry& registry) {
  if (config.addresses.empty()) {
    return absl::InvalidArgumentError("router_addresses is empty; name at least one host:port");
  }
  std::unique_ptr<RouterPool> pool(new RouterPool(config, clock, registry));
  for (const std::string& address : config.addresses) {
    auto router = std::make_unique<Router>(*pool, address);
    router->reconnect_pause = config.reconnect_min;
    RouterClientConfig client_config;
    client_config.address = address;
    client_config.tls = config.tls;
    TESSERA_ASSIGN_OR_RETURN(router->client, RouterClient::Open(client_config, *router));
    pool->routers_.push_back(std::move(router));
  }
  return pool;
}

RouterPool::~RouterPool() {
  {
    absl::MutexLock lock(&mutex_);
    by_id_.clear();
    by_number_.clear();
    waiting_.clear();
    for (const auto& router : routers_) router->is_up = false;  // their end is no news
  }
  for (const auto& router : routers_) router->client.reset();
}

absl::StatusOr<uint64_t> RouterPool::Submit(PoolRequest request) {
  auto generation = std::make_shared<Generation>();
  generation->caller_id = request.params.request_id;
  generation->cost_tokens = request.cost_tokens;
  generation->deadline = request.deadline;
  generation->prefix_hash = PrefixHash(request.params, config_.affinity_tokens);
  generation->callback = std::move(request.callback);
  absl::MutexLock lock(&mutex_);
  generation->number = next_number_++;
  {
    absl::MutexLock delivery(&generation->delivery);
    generation->params = std::move(request.params);
    std::optional<uint64_t>& seed = generation->params.sampling.seed;
    if (!seed.has_value()) {
      seed = MixBits(generation->number ^ static_cast<uint64_t>(absl::ToUnixNanos(clock_.Now())));
    }
  }
  Router* router = Choose(*generation);
  if (router == nullptr) return NoRoom();
  if (!SendTo(*router, generation)) return absl::UnavailableError("the router has just gone");
  by_number_.emplace(generation->number, generation);
  return generation->number;
}

std::vector<RouterPool::Router*> RouterPool::Candidates() const {
  std::vector<Router*> up;
  for (const auto& router : routers_) {
    if (router->is_up && !router->report.draining) up.push_back(router.get());
  }
  const auto is_ready = [](const Router* router) { return router->report.not_ready.empty(); };
  if (std::any_of(up.begin(), up.end(), is_ready)) std::erase_if(up, std::not_fn(is_ready));
  return up;
}

absl::Status RouterPool::NoRoom() const {
  return Candidates().empty() ? absl::UnavailableError(kNoRouter)
                              : absl::ResourceExhaustedError("every router is full");
}

absl::Status RouterPool::CheckRoom(uint32_t cost_tokens) const {
  absl::MutexLock lock(&mutex_);
  for (const Router* router : Candidates()) {
    if (router->HasRoom(cost_tokens)) return absl::OkStatus();
  }
  return NoRoom();
}

RouterPool::Router* RouterPool::Choose(const Generation& generation) {
  Router* emptiest = nullptr;
  Router* preferred = nullptr;
  uint64_t best_rank = 0;
  for (Router* router : Candidates()) {
    if (!router->HasRoom(generation.cost_tokens)) continue;
    if (emptiest == nullptr || router->sequences() < emptiest->sequences()) emptiest = router;
    // Rendezvous hashing: a router that comes or goes moves only its own prefixes.
    const uint64_t rank = MixBits(generation.prefix_hash ^ router->address_hash);
    if (preferred == nullptr || rank > best_rank) {
      preferred = router;
      best_rank = rank;
    }
  }
  if (preferred == nullptr) return nullptr;
  return preferred->sequences() <= emptiest->sequences() + config_.affinity_slack ? preferred
                                                                                  : emptiest;
}

bool RouterPool::SendTo(Router& router, const GenerationPtr& generation) {
  wire::GenerationParams params;
  {
    absl::MutexLock delivery(&generation->delivery);
    params = generation->params;
    if (generation->started) params.want_prompt_logprobs = false;
  }
  // A name of its own for each attempt, as an event of an earlier one may still be on its way.
  generation->sent_id =
      absl::StrCat(generation->caller_id, "#", generation->number, ".", generation->attempts++);
  params.request_id = generation->sent_id;
  if (generation->deadline < absl::InfiniteDuration()) {
    params.deadline = std::max(generation->deadline - clock_.Elapsed(), absl::Milliseconds(1));
  }
  if (!router.client->Send(params)) return false;
  generation->router = &router;
  ++router.sent_since_report;
  router.tokens_since_report += generation->cost_tokens;
  by_id_[generation->sent_id] = generation;
  return true;
}

void RouterPool::OnEvent(Router& router, wire::TokenEvent event) {
  GenerationPtr generation;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = by_id_.find(event.request_id);
    if (found == by_id_.end() || found->second->router != &router) return;
    generation = found->second;
  }
  event.request_id = generation->caller_id;
  if (auto* finished = std::get_if<wire::FinishedEvent>(&event.event)) {
    const bool moved_on = finished->kind == wire::FinishKind::kCancelled ||  // not by us
                          absl::IsUnavailable(finished->error) ||
                          absl::IsResourceExhausted(finished->error);
    if (moved_on) {
      Suspend(generation, std::max(finished->retry_after, absl::IsResourceExhausted(finished->error)
                                                              ? kPauseWhenFull
                                                              : absl::ZeroDuration()));
      SendWaiting();
    } else {
      FinishGeneration(generation, std::move(*finished));
    }
    return;
  }
  absl::Status broken;
  {
    absl::MutexLock delivery(&generation->delivery);
    if (generation->finished) return;
    generation->give_up_at = absl::InfiniteDuration();
    if (std::holds_alternative<wire::StartedEvent>(event.event)) {
      if (!std::exchange(generation->started, true)) generation->callback(std::move(event));
      return;
    }
    auto& tokens = std::get<wire::TokensEvent>(event.event);
    std::vector<TokenId>& produced = generation->params.produced;
    if (tokens.first_index > produced.size()) {
      broken = absl::InternalError(absl::StrCat("router ", router.address, " skipped from token ",
                                                produced.size(), " to ", tokens.first_index));
    } else {
      const size_t known = std::min(produced.size() - tokens.first_index, tokens.tokens.size());
      tokens.tokens.erase(tokens.tokens.begin(),
                          tokens.tokens.begin() + static_cast<ptrdiff_t>(known));
      tokens.first_index = static_cast<uint32_t>(produced.size());
      for (const wire::TokenOutput& token : tokens.tokens) produced.push_back(token.token);
      if (!tokens.tokens.empty()) generation->callback(std::move(event));
    }
  }
  if (!broken.ok()) {
    router.client->Cancel(generation->sent_id);
    FinishGeneration(generation, ErrorEnd(broken));
  }
}

void RouterPool::OnReport(Router& router, const RouterReport& report) {
  {
    absl::MutexLock lock(&mutex_);
    if (!router.is_up) TESSERA_LOG(INFO) << "router " << router.address << " is up";
    if (report.draining && !router.report.draining) {
      TESSERA_LOG(INFO) << "router " << router.address << " drains; it gets nothing new";
    }
    NoteReady(router);
    router.is_up = true;
    router.report = report;
    router.tokens_since_report = 0;
    router.sent_since_report = 0;
    router.reconnect_pause = config_.reconnect_min;
  }
  SendWaiting();
  if (on_room_) on_room_();
}

void RouterPool::OnDown(Router& router, const absl::Status& status) {
  std::vector<GenerationPtr> lost;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [number, generation] : by_number_) {
      if (generation->router == &router) lost.push_back(generation);
    }
    if (router.is_up) {
      TESSERA_LOG(WARNING) << status.message() << "; " << lost.size()
                           << " of its requests go on elsewhere or when it is back";
    }
    NoteReady(router);
    router.is_up = false;
    router.report = {};
    router.tokens_since_report = 0;
    router.sent_since_report = 0;
    router.reconnect_at = clock_.Elapsed() + router.reconnect_pause;
    router.reconnect_pause = std::min(2 * router.reconnect_pause, config_.reconnect_max);
  }
  for (const GenerationPtr& generation : lost) Suspend(generation, absl::ZeroDuration());
  SendWaiting();
  if (on_room_) on_room_();
}

bool RouterPool::HasEnded(const wire::GenerationParams& params, wire::FinishedEvent& event) const {
  const auto has = [&params](const std::vector<TokenId>& tokens) {
    return std::find(tokens.begin(), tokens.end(), params.produced.back()) != tokens.end();
  };
  event.prompt_tokens = static_cast<uint32_t>(params.prompt.size());
  event.produced_tokens = static_cast<uint32_t>(params.produced.size());
  if (params.produced.empty()) return false;
  if (params.produced.size() > params.tokens_min &&
      (has(params.stop_tokens) || (!params.ignore_eos && has(config_.eos_tokens)))) {
    event.kind = wire::FinishKind::kStop;
    return true;
  }
  event.kind = wire::FinishKind::kLength;
  return params.produced.size() >= params.tokens_max;
}

void RouterPool::Suspend(const GenerationPtr& generation, absl::Duration pause) {
  wire::FinishedEvent end;
  bool ended = false;
  {
    absl::MutexLock lock(&mutex_);
    if (!by_number_.contains(generation->number) || generation->router == nullptr) return;
    absl::MutexLock delivery(&generation->delivery);
    ended = HasEnded(generation->params, end);
    if (!ended) {
      const absl::Duration now = clock_.Elapsed();
      generation->give_up_at = std::min(generation->give_up_at, now + config_.resume_timeout);
      by_id_.erase(generation->sent_id);
      generation->router = nullptr;
      generation->retry_at = now + pause;
      waiting_.push_back(generation);
    }
  }
  if (ended) FinishGeneration(generation, std::move(end));
}

void RouterPool::SendWaiting() {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Elapsed();
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    Router* router = (*it)->retry_at <= now ? Choose(**it) : nullptr;
    if (router != nullptr && SendTo(*router, *it)) {
      resumed_counter_.Increment();
      it = waiting_.erase(it);
    } else {
      ++it;
    }
  }
}

bool RouterPool::Forget(const GenerationPtr& generation) {
  if (by_number_.erase(generation->number) == 0) return false;
  by_id_.erase(generation->sent_id);
  std::erase(waiting_, generation);
  generation->router = nullptr;
  return true;
}

void RouterPool::Abandon(const GenerationPtr& given) {
  const GenerationPtr generation = given;  // it may be the map's own, which goes
  if (generation->router != nullptr) generation->router->client->Cancel(generation->sent_id);
  Forget(generation);
}

void RouterPool::FinishGeneration(const GenerationPtr& generation, wire::FinishedEvent event) {
  {
    absl::MutexLock lock(&mutex_);
    if (!Forget(generation)) return;
  }
  TellEnd(generation, std::move(event));
}

void RouterPool::TellEnd(const GenerationPtr& generation, wire::FinishedEvent event) {
  {
    absl::MutexLock delivery(&generation->delivery);
    generation->finished = true;
    generation->callback({.request_id = generation->caller_id, .event = std::move(event)});
  }
  if (on_room_) on_room_();
}

void RouterPool::Cancel(uint64_t number) {
  absl::MutexLock lock(&mutex_);
  const auto found = by_number_.find(number);
  if (found != by_number_.end()) Abandon(found->second);
}

void RouterPool::Tick() {
  std::vector<std::pair<GenerationPtr, absl::Status>> late;
  std::vector<Router*> down;
  double up_count = 0;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = clock_.Elapsed();
    for (const auto& router : routers_) {
      if (router->is_up) ++up_count;
      if (!router->is_up && router->reconnect_at <= now) down.push_back(router.get());
    }
    for (const auto& [number, generation] : by_number_) {
      absl::MutexLock delivery(&generation->delivery);
      if (generation->deadline <= now) {
        late.emplace_back(generation, absl::DeadlineExceededError("the request's time is over"));
      } else if (generation->router == nullptr && generation->give_up_at <= now) {
        late.emplace_back(generation, absl::UnavailableError("no router took the request on"));
      }
    }
    // Under the same lock: the router answers with kCancelled, which must find no request, or it is
    // taken for a router that gave the request up.
    for (const auto& [generation, status] : late) Abandon(generation);
  }
  up_gauge_.Set(up_count);
  for (Router* router : down) router->client->Connect();
  for (auto& [generation, status] : late) TellEnd(generation, ErrorEnd(status));
  SendWaiting();
}

void RouterPool::CollectExpertLoad(ExpertLoadDone done) {
  std::vector<RouterClient*> clients;  // live as long as the pool
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& router : routers_) {
      if (router->is_up) clients.push_back(router->client.get());
    }
  }
  if (clients.empty()) return done(absl::UnavailableError("no router is connected"));
  const auto gathering = std::make_shared<LoadGathering>(clients.size(), std::move(done));
  for (RouterClient* client : clients) {
    client->AskExpertLoad(kLoadTimeout, [gathering](absl::StatusOr<wire::ExpertLoad> load) {
      gathering->Add(std::move(load));
    });
  }
}

std::vector<RouterStatus> RouterPool::Snapshot() const {
  absl::MutexLock lock(&mutex_);
  std::vector<RouterStatus> statuses;
  for (const auto& router : routers_) {
    statuses.push_back({router->address, router->is_up, router->report});
  }
  return statuses;
}

void RouterPool::NoteReady(const Router& router) {
  if (router.is_up && router.report.not_ready.empty()) ready_at_ = clock_.Elapsed();
}

std::vector<std::string> RouterPool::NotReadyReasons() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> reasons;
  const std::vector<Router*> routers = Candidates();
  if (routers.empty()) reasons.emplace_back(kNoRouter);
  for (const Router* router : routers) {
    if (router->report.not_ready.empty()) return {};
    for (const std::string& reason : router->report.not_ready) {
      reasons.push_back(absl::StrCat("router ", router->address, ": ", reason));
    }
  }
  const bool just_lost = clock_.Elapsed() - ready_at_ < config_.unready_after;
  if (just_lost && !routers.empty()) return {};
  return reasons;
}

bool RouterPool::is_settled() const {
  absl::MutexLock lock(&mutex_);
  return by_number_.empty() &&
         std::all_of(routers_.begin(), routers_.end(), [](const auto& router) {
           return router->is_up && router->report.not_ready.empty();
         });
}

size_t RouterPool::running_count() const {
  absl::MutexLock lock(&mutex_);
  return by_number_.size();
}

size_t RouterPool::waiting_count() const {
  absl::MutexLock lock(&mutex_);
  return waiting_.size();
}

}  // namespace tessera::gateway
