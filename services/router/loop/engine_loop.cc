#include "services/router/loop/engine_loop.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "services/router/loop/request_sequence.h"

namespace tessera::router {
namespace {

constexpr char kDraining[] =
    "this router is stopping; send the request to another, with what it produced so far";

bool MayComeAgain(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable ||
         status.code() == absl::StatusCode::kDeadlineExceeded;
}

}  // namespace

EngineLoop::Metrics::Metrics(Registry& registry)
    : submitted(registry.AddCounter("tessera_router_requests_total", "Requests that came.")),
      refused(registry.AddCounter("tessera_router_requests_refused_total",
                                  "Requests refused: wrong, or no room.")),
      stalls(registry.AddCounter("tessera_router_stalls_total",
                                 "Times a request could not be computed as experts were missing.")),
      running(registry.AddGauge("tessera_router_sequences_running", "Sequences being computed.")),
      waiting(registry.AddGauge("tessera_router_sequences_waiting",
                                "Sequences that wait to be computed.")),
      parked(registry.AddGauge("tessera_router_sequences_parked",
                               "Sequences that wait for experts nobody holds.")),
      kv_used_ratio(registry.AddGauge("tessera_router_kv_used_ratio",
                                      "Share of the key and value blocks that sequences hold.")),
      preemptions(registry.AddCounter("tessera_router_preemptions_total",
                                      "Sequences that gave up their blocks for others.")),
      prompt_tokens_cached(registry.AddCounter("tessera_router_prefix_cache_hits_total",
                                               "Prompt tokens found in the prefix cache.")),
      prompt_tokens_looked_up(registry.AddCounter("tessera_router_prefix_cache_queries_total",
                                                  "Prompt tokens looked up in the prefix cache.")),
      kv_evictions(registry.AddCounter("tessera_router_kv_evictions_total",
                                       "Blocks of the prefix cache that made room.")),
      tokens_recomputed(registry.AddCounter("tessera_router_tokens_recomputed_total",
                                            "Tokens computed again after a preemption.")) {}

EngineLoop::EngineLoop(const EngineLoopConfig& config, const EngineLoopRooms& rooms)
    : config_(config), rooms_(rooms), inbox_(config.inbox_max), metrics_(rooms.registry) {}

EngineLoop::~EngineLoop() { Stop(); }

void EngineLoop::Start() {
  ShowLoad();
  thread_ = Thread("engine", [this](const std::stop_token& stop) { Run(stop); });
}

absl::StatusOr<std::shared_ptr<RequestStream>> EngineLoop::Submit(wire::GenerationParams params,
                                                                  std::function<void()> wake) {
  metrics_.submitted.Increment();
  const auto refuse = [this](absl::Status status) {
    metrics_.refused.Increment();
    return status;
  };
  if (draining_.load()) return refuse(absl::UnavailableError(kDraining));
  const uint64_t number = next_id_.fetch_add(1);
  const bool wants_logprobs = params.logprobs.has_value();
  std::string request_id = params.request_id;
  const Tracer::Scope scope = rooms_.book.BeginTrace(params.trace);
  absl::StatusOr<SequenceRequest> request =
      ToSequenceRequest(std::move(params), SequenceId{number}, config_.vocab,
                        rooms_.clock.Elapsed(), RandomBits(config_.seed, number));
  if (!request.ok()) return refuse(request.status());
  if (scope.context.sampled) request->trace = scope.context;

  Admission admission{
      std::make_unique<Sequence>(*std::move(request)),
      std::make_shared<RequestStream>(std::move(request_id), std::move(wake), scope),
      rooms_.clock.Elapsed(), wants_logprobs};
  const std::shared_ptr<RequestStream> stream = admission.stream;
  rooms_.book.Announce(stream);
  if (inbox_.TryPush(std::move(admission))) return stream;
  rooms_.book.Withdraw(stream);
  if (inbox_.closed()) return refuse(absl::UnavailableError(kDraining));
  return refuse(absl::ResourceExhaustedError(absl::StrCat(
      config_.inbox_max, " requests are on their way to the engine, the most that may")));
}

void EngineLoop::Drain() {
  draining_.store(true);
  rooms_.board.SetDraining();
}

void EngineLoop::Stop() {
  Drain();
  inbox_.Close();
  thread_.Stop();
}

absl::Status EngineLoop::health() const {
  absl::MutexLock lock(&mutex_);
  return health_;
}

uint64_t EngineLoop::ClusterVersion() const {
  return rooms_.directory == nullptr ? 0 : rooms_.directory->View()->version;
}

void EngineLoop::Run(const std::stop_token& stop) {
  absl::Duration wait;
  while (!stop.stop_requested()) {
    TakeInbox(wait);
    CancelFlagged();
    EndOverdue();
    UnparkWhenDue();
    StepOnce();
    rooms_.book.WakeReaders();
    ShowLoad();
    const bool worked = rooms_.engine.row_count() > 0;
    wait = worked                   ? absl::ZeroDuration()
           : rooms_.book.size() > 0 ? config_.look_interval
                                    : config_.idle_interval;
    if (!worked && rooms_.look_around) rooms_.look_around();
  }
  EndAll();
}

void EngineLoop::TakeInbox(absl::Duration wait) {
  std::optional<Admission> admission =
      wait > absl::ZeroDuration() ? inbox_.PopFor(wait) : inbox_.TryPop();
  while (admission) {
    Admit(*std::move(admission));
    admission = inbox_.TryPop();
  }
}

void EngineLoop::Admit(Admission admission) {
  const SequenceId id = admission.sequence->id();
  const size_t prompt_tokens = admission.sequence->prompt_count();
  const size_t produced_tokens = admission.sequence->produced_count();
  const absl::Status status = rooms_.scheduler.Submit(std::move(admission.sequence));
  if (status.ok()) {
    rooms_.book.Open(id, std::move(admission.stream), admission.arrived, admission.wants_logprobs);
    return;
  }
  metrics_.refused.Increment();
  rooms_.book.Refuse(admission.stream, prompt_tokens, produced_tokens, status);
}

void EngineLoop::CancelFlagged() {
  for (const SequenceId id : rooms_.book.CancelledIds()) rooms_.scheduler.Cancel(id);
}

void EngineLoop::EndOverdue() {
  const absl::Duration now = rooms_.clock.Elapsed();
  for (const Parked& parked : parked_) {
    const Sequence* sequence = rooms_.scheduler.Find(parked.id);
    if (sequence == nullptr || sequence->deadline() != absl::InfiniteDuration()) continue;
    if (parked.since + config_.experts_wait_max > now) continue;
    rooms_.scheduler.Fail(parked.id, absl::UnavailableError(absl::StrCat(
                                         "no expert shard held what this request needs for ",
                                         absl::FormatDuration(config_.experts_wait_max),
                                         "; send it again with the tokens it produced")));
  }
}

void EngineLoop::UnparkWhenDue() {
  if (parked_.empty()) return;
  if (rooms_.clock.Elapsed() < unpark_at_ && ClusterVersion() == parked_version_) return;
  rooms_.scheduler.UnparkAll();
  parked_.clear();
}

void EngineLoop::StepOnce() {
  const uint64_t version_before = ClusterVersion();
  const absl::Status status = rooms_.engine.Step();
  if (!status.ok()) OnStepFailed(status, version_before);
}

void EngineLoop::OnStepFailed(const absl::Status& status, uint64_t version_before) {
  if (!MayComeAgain(status)) {
    TESSERA_LOG(ERROR) << "a step failed for good and its " << rooms_.engine.affected().size()
                       << " requests end (" << rooms_.book.NamesOf(rooms_.engine.affected())
                       << "): " << status;
    for (const SequenceId id : rooms_.engine.affected()) rooms_.scheduler.Fail(id, status);
    absl::MutexLock lock(&mutex_);
    if (status.code() == absl::StatusCode::kDataLoss) health_ = status;
    return;
  }
  size_t parked_now = 0;
  for (const SequenceId id : rooms_.engine.affected()) {
    const Sequence* sequence = rooms_.scheduler.Find(id);
    if (sequence == nullptr) continue;
    metrics_.stalls.Increment();
    // Once for a sequence. An answer that was only late is waited for: no expert is known to be
    // missing, and the next step would meet the same.
    if (absl::IsUnavailable(status) && rooms_.scheduler.LeaveOutHomeless(id)) continue;
    rooms_.scheduler.Park(id);
    parked_.push_back({id, rooms_.book.NoteStall(id, sequence->committed())});
    ++parked_now;
  }
  if (parked_now == 0) return;
  if (parked_now == parked_.size()) {  // the first ones
    parked_version_ = version_before;
    unpark_at_ = rooms_.clock.Elapsed() + config_.park_max;
    TESSERA_LOG(WARNING) << parked_now << " requests wait for experts, the others go on ("
                         << rooms_.book.NamesOf(rooms_.engine.affected())
                         << "): " << status.message();
  }
}

void EngineLoop::EndAll() {
  TakeInbox(absl::ZeroDuration());
  for (const SequenceId id : rooms_.book.OpenIds()) {
    rooms_.scheduler.Fail(id, absl::UnavailableError(kDraining));
  }
  for (std::unique_ptr<Sequence>& sequence : rooms_.scheduler.TakeFinished()) {
    rooms_.book.OnFinished(std::move(sequence));
  }
  rooms_.book.WakeReaders();
  ShowLoad();
}

void EngineLoop::ShowLoad() {
  const SchedulerStats stats = rooms_.scheduler.stats();
  const bool has_full = stats.kv.full.block_count > 0;
  const KvGroupStats& blocks = has_full ? stats.kv.full : stats.kv.sliding;
  const size_t room = (blocks.free_count + blocks.idle_count) * kBlockTokens;
  RouterLoad load;
  if (room > stats.waiting_tokens && stats.waiting < config_.waiting_max) {
    load.tokens_free =
        static_cast<uint32_t>(std::min<size_t>(room - stats.waiting_tokens, 0xffffffffu));
  }
  load.sequences_running = static_cast<uint32_t>(stats.running);
  load.sequences_waiting = static_cast<uint32_t>(stats.waiting + inbox_.size());
  const auto ratio = [](const KvGroupStats& group) {
    return group.block_count == 0
               ? 0.0f
               : static_cast<float>(group.used_count) / static_cast<float>(group.block_count);
  };
  load.preemptions_total = stats.preemptions;
  load.prompt_tokens_total = stats.kv.prefix_query_tokens;
  load.kv_used_ratio = std::max(ratio(stats.kv.full), ratio(stats.kv.sliding));
  if (rooms_.directory != nullptr) {
    load.epoch = static_cast<uint64_t>(rooms_.directory->View()->placement.epoch());
  }
  rooms_.board.Write(load);
  metrics_.running.Set(static_cast<double>(stats.running));
  metrics_.waiting.Set(static_cast<double>(stats.waiting));
  metrics_.parked.Set(static_cast<double>(stats.parked));
  metrics_.kv_used_ratio.Set(load.kv_used_ratio);
  const auto count = [](Counter& counter, uint64_t now, uint64_t before) {
    if (now > before) counter.Increment(static_cast<double>(now - before));
  };
  count(metrics_.preemptions, stats.preemptions, shown_.preemptions);
  count(metrics_.tokens_recomputed, stats.recomputed_tokens, shown_.recomputed_tokens);
  count(metrics_.prompt_tokens_cached, stats.kv.prefix_hit_tokens, shown_.kv.prefix_hit_tokens);
  count(metrics_.prompt_tokens_looked_up, stats.kv.prefix_query_tokens,
        shown_.kv.prefix_query_tokens);
  count(metrics_.kv_evictions, stats.kv.evictions, shown_.kv.evictions);
  shown_ = stats;
}

}  // namespace tessera::router
