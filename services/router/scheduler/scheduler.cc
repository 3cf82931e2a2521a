#include "services/router/scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

// Rows among the next `row_count` of the sequence whose logits are wanted.
size_t LogitsRows(const Sequence& sequence, size_t row_count) {
  const size_t begin = sequence.committed();
  const size_t end = begin + row_count;
  const bool is_sampled = end == sequence.token_count() && sequence.wants_token();
  if (!sequence.wants_prompt_logits()) return is_sampled ? 1 : 0;
  const size_t asked_begin = std::max(begin, sequence.prompt_logits_done());
  const size_t asked_end = std::min(end, sequence.prompt_count());
  const size_t asked = asked_end > asked_begin ? asked_end - asked_begin : 0;
  const bool is_last_asked = asked > 0 && asked_end == sequence.token_count();
  return asked + (is_sampled && !is_last_asked ? 1 : 0);
}

size_t Minus(size_t a, size_t b) { return a > b ? a - b : 0; }

BlockCounts HeldBlocks(const Sequence& sequence) {
  const BlockTables& tables = sequence.tables();
  return {tables.full.size(), tables.sliding.size() - tables.sliding_begin};
}

absl::Status CheckPositive(const char* name, size_t value) {
  if (value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("scheduler.", name, " is 0; it must be above 0"));
}

}  // namespace

struct Scheduler::Plan {
  struct Item {
    Entry* entry = nullptr;
    size_t row_count = 0;
    bool is_decode = false;
  };
  std::vector<Item> items;
  size_t row_count = 0;
  size_t logits_row_count = 0;
  bool has_preempted = false;
};

absl::Status SchedulerConfig::Validate() const {
  TESSERA_RETURN_IF_ERROR(CheckPositive("batch_tokens_max", batch_tokens_max));
  TESSERA_RETURN_IF_ERROR(CheckPositive("prefill_chunk_max", prefill_chunk_max));
  TESSERA_RETURN_IF_ERROR(CheckPositive("sequences_max", sequences_max));
  TESSERA_RETURN_IF_ERROR(CheckPositive("waiting_max", waiting_max));
  TESSERA_RETURN_IF_ERROR(CheckPositive("context_max", context_max));
  TESSERA_RETURN_IF_ERROR(CheckPositive("vocab", vocab));
  if (logits_rows_max < sequences_max) {
    return absl::InvalidArgumentError(absl::StrCat("scheduler.logits_rows_max is ", logits_rows_max,
                                                   "; it must be at least sequences_max, ",
                                                   sequences_max));
  }
  if (!(admission_reserve >= 0 && admission_reserve < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("scheduler.admission_reserve is ",
                                                   admission_reserve,
                                                   "; it must be at least 0 and below 1"));
  }
  return absl::OkStatus();
}

bool Scheduler::MoreImportant::operator()(const Entry* a, const Entry* b) const {
  if (a->sequence->priority() != b->sequence->priority()) {
    return a->sequence->priority() < b->sequence->priority();
  }
  return a->arrival < b->arrival;
}

Scheduler::Scheduler(const SchedulerConfig& config, KvCache& kv) : config_(config), kv_(kv) {
  TESSERA_CHECK(config.Validate().ok());
}

Scheduler::~Scheduler() {
  for (auto& [id, entry] : entries_) kv_.Release(*entry->sequence);
}

absl::Status Scheduler::Submit(std::unique_ptr<Sequence> sequence) {
  TESSERA_RETURN_IF_ERROR(CheckLimits(*sequence));
  TESSERA_RETURN_IF_ERROR(CheckFits(*sequence));
  if (entries_.contains(sequence->id())) {
    return absl::AlreadyExistsError(
        absl::StrCat("sequence ", ToIndex(sequence->id()), " is already here"));
  }
  if (waiting_.size() >= config_.waiting_max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        waiting_.size(), " sequences are waiting, the most that may; try again later"));
  }
  sequence->SetStopIds(config_.eos_token_ids);
  auto entry = std::make_unique<Entry>();
  entry->arrival = arrival_count_++;
  entry->sequence = std::move(sequence);
  waiting_.insert(entry.get());
  const SequenceId id = entry->sequence->id();
  entries_.emplace(id, std::move(entry));
  ++counters_.submitted;
  return absl::OkStatus();
}

absl::Status Scheduler::CheckLimits(const Sequence& sequence) const {
  if (sequence.prompt_count() == 0) {
    return absl::InvalidArgumentError("the prompt is empty; it needs at least one token");
  }
  for (size_t i = 0; i < sequence.token_count(); ++i) {
    const TokenId token = sequence.tokens()[i];
    if (token >= 0 && static_cast<size_t>(token) < config_.vocab) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("token ", i, " is ", token, "; tokens are 0 to ", config_.vocab - 1));
  }
  TESSERA_RETURN_IF_ERROR(ValidateSampling(sequence.sampling(), config_.vocab));
  if (sequence.produced_count() > sequence.sampling().max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(sequence.produced_count(),
                                                   " tokens are already produced, max_tokens is ",
                                                   sequence.sampling().max_tokens));
  }
  const size_t least_tokens = sequence.token_count() + (sequence.wants_token() ? 1 : 0);
  if (least_tokens > config_.context_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        sequence.token_count(), " tokens", sequence.wants_token() ? " and one to produce" : "",
        " are more than the context of ", config_.context_max));
  }
  return absl::OkStatus();
}

absl::Status Scheduler::CheckFits(const Sequence& sequence) const {
  const size_t tokens_end = std::min(
      config_.context_max, sequence.prompt_count() + size_t{sequence.sampling().max_tokens});
  // The last token's keys and values are never computed.
  const size_t stored = std::max(sequence.token_count(), tokens_end - 1);
  const BlockCounts need = kv_.geometry().SequenceBlocks(stored, 1);
  const BlockCounts have = kv_.block_counts();
  if (need.full <= have.full && need.sliding <= have.sliding) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "prompt and max_tokens make ", tokens_end, " tokens; their keys and values need ", need.full,
      " blocks of full and ", need.sliding, " of sliding layers, the cache has ", have.full,
      " and ", have.sliding, ": lower max_tokens or shorten the prompt"));
}

bool Scheduler::Cancel(SequenceId id) {
  return End(id, FinishReason::kCancelled, absl::OkStatus());
}

bool Scheduler::Fail(SequenceId id, absl::Status error) {
  TESSERA_CHECK(!error.ok());
  return End(id, FinishReason::kError, std::move(error));
}

bool Scheduler::End(SequenceId id, FinishReason reason, absl::Status error) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return false;
  Entry& entry = *it->second;
  if (entry.pending_reason != FinishReason::kNone) return false;
  if (entry.in_step) {
    entry.pending_reason = reason;
    entry.pending_error = std::move(error);
  } else {
    Retire(entry, reason, std::move(error));
  }
  return true;
}

void Scheduler::Retire(Entry& entry, FinishReason reason, absl::Status error) {
  // A logit that is not finite comes from keys and values that may be none either.
  if (absl::IsInternal(error)) kv_.Forget(*entry.sequence);
  entry.sequence->Finish(reason, std::move(error));
  kv_.Release(*entry.sequence);
  (entry.is_running ? running_ : waiting_).erase(&entry);
  if (entry.is_parked) --parked_count_;
  const SequenceId id = entry.sequence->id();
  finished_.push_back(std::move(entry.sequence));
  entries_.erase(id);
  ++counters_.finished;
}

void Scheduler::ExpireDeadlines(absl::Duration now) {
  std::vector<Entry*> late;
  for (const auto* entries : {&running_, &waiting_}) {
    std::copy_if(entries->begin(), entries->end(), std::back_inserter(late),
                 [now](const Entry* entry) { return entry->sequence->deadline() <= now; });
  }
  for (Entry* entry : late) {
    const size_t produced_count = entry->sequence->produced_count();
    Retire(*entry, FinishReason::kError,
           absl::DeadlineExceededError(
               absl::StrCat("the deadline passed after ", produced_count, " produced tokens")));
  }
}

StepBatch Scheduler::NextBatch(absl::Duration now) {
  TESSERA_CHECK(!batch_is_out_);
  ExpireDeadlines(now);
  Plan plan;
  PlanDecode(plan);
  PlanPrefill(plan);
  PlanAdmissions(plan);

  StepBatch batch;
  for (const Plan::Item& item : plan.items) {
    batch.Add(*item.entry->sequence, item.row_count, item.is_decode);
    item.entry->in_step = true;
  }
  batch_is_out_ = !batch.empty();
  return batch;
}

void Scheduler::PlanDecode(Plan& plan) {
  const std::vector<Entry*> candidates(running_.begin(), running_.end());
  for (Entry* entry : candidates) {
    if (plan.row_count >= config_.batch_tokens_max) return;
    // Those preempted since the copy was made are not running any more.
    if (!entry->is_running || entry->is_parked) continue;
    if (entry->sequence->uncommitted_count() != 1) continue;
    if (SecureRows(plan, *entry, 1) > 0) AddToPlan(plan, *entry, 1, /*is_decode=*/true);
  }
}

void Scheduler::PlanPrefill(Plan& plan) {
  const std::vector<Entry*> candidates(running_.begin(), running_.end());
  for (Entry* entry : candidates) {
    if (!entry->is_running || entry->is_parked) continue;
    if (entry->sequence->uncommitted_count() == 1) continue;
    const size_t rows_max = ChunkLimit(plan, *entry->sequence);
    if (rows_max == 0) continue;
    const size_t row_count = SecureRows(plan, *entry, rows_max);
    if (row_count > 0) AddToPlan(plan, *entry, row_count, /*is_decode=*/false);
  }
}

void Scheduler::PlanAdmissions(Plan& plan) {
  // Whoever gave up blocks in this step would only take them back.
  const size_t running_max = std::min(config_.sequences_max, config_.batch_tokens_max);
  while (!plan.has_preempted) {
    // In strict order: letting a short one pass would starve a long one.
    Entry* const first = FirstAdmissible();
    if (first == nullptr || plan.row_count >= config_.batch_tokens_max) return;
    Entry& entry = *first;
    if (running_.size() >= running_max || !Admit(entry, /*alone=*/running_.empty())) {
      // A parked one makes room; the next step takes it.
      if (Entry* parked = LastParkedRunning()) Preempt(plan, *parked);
      return;
    }
    const size_t rows_max = ChunkLimit(plan, *entry.sequence);
    if (rows_max == 0) return;
    const size_t row_count = SecureRows(plan, entry, rows_max);
    if (row_count > 0) AddToPlan(plan, entry, row_count, /*is_decode=*/false);
  }
}

size_t Scheduler::ChunkLimit(const Plan& plan, const Sequence& sequence) const {
  size_t rows = std::min({sequence.uncommitted_count(), config_.prefill_chunk_max,
                          config_.batch_tokens_max - plan.row_count});
  const size_t logits_left = config_.logits_rows_max - plan.logits_row_count;
  while (rows > 0 && LogitsRows(sequence, rows) > logits_left) --rows;
  return rows;
}

size_t Scheduler::SecureRows(Plan& plan, Entry& entry, size_t rows_max) {
  while (true) {
    const size_t row_count = kv_.RowsThatFit(*entry.sequence, rows_max, {});
    if (row_count > 0) {
      TESSERA_CHECK(kv_.Reserve(*entry.sequence, row_count));
      return row_count;
    }
    Entry& victim = Victim();
    // The least important keeps what it has and waits: whoever is before it makes progress.
    if (&victim == &entry) {
      TESSERA_CHECK(running_.size() > 1);  // Submit refuses what does not fit alone
      return 0;
    }
    Preempt(plan, victim);
  }
}

Scheduler::Entry* Scheduler::LastParkedRunning() const {
  if (parked_count_ == 0) return nullptr;
  const auto last = std::find_if(running_.rbegin(), running_.rend(),
                                 [](const Entry* entry) { return entry->is_parked; });
  return last == running_.rend() ? nullptr : *last;
}

Scheduler::Entry& Scheduler::Victim() const {
  Entry* const parked = LastParkedRunning();
  return parked != nullptr ? *parked : **running_.rbegin();
}

Scheduler::Entry* Scheduler::FirstAdmissible() const {
  const auto first = std::find_if(waiting_.begin(), waiting_.end(),
                                  [](const Entry* entry) { return !entry->is_parked; });
  return first == waiting_.end() ? nullptr : *first;
}

void Scheduler::Park(SequenceId id) {
  TESSERA_CHECK(!batch_is_out_);
  const auto it = entries_.find(id);
  if (it == entries_.end() || it->second->is_parked) return;
  it->second->is_parked = true;
  ++parked_count_;
}

void Scheduler::UnparkAll() {
  if (parked_count_ == 0) return;
  for (auto& [id, entry] : entries_) entry->is_parked = false;
  parked_count_ = 0;
}

bool Scheduler::LeaveOutHomeless(SequenceId id) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return false;
  Sequence& sequence = *it->second->sequence;
  if (!sequence.degraded_allowed() || sequence.leaves_out_homeless()) return false;
  sequence.LeaveOutHomeless();
  return true;
}

void Scheduler::AddToPlan(Plan& plan, Entry& entry, size_t row_count, bool is_decode) const {
  plan.items.push_back({&entry, row_count, is_decode});
  plan.row_count += row_count;
  plan.logits_row_count += LogitsRows(*entry.sequence, row_count);
}

void Scheduler::Preempt(Plan& plan, Entry& victim) {
  const auto item = std::find_if(plan.items.begin(), plan.items.end(),
                                 [&](const Plan::Item& i) { return i.entry == &victim; });
  if (item != plan.items.end()) {
    plan.row_count -= item->row_count;
    plan.logits_row_count -= LogitsRows(*victim.sequence, item->row_count);
    plan.items.erase(item);
  }
  ++counters_.preemptions;
  counters_.recomputed_tokens += victim.sequence->committed();
  plan.has_preempted = true;
  running_.erase(&victim);
  victim.is_running = false;
  kv_.Release(*victim.sequence);
  waiting_.insert(&victim);
}

BlockCounts Scheduler::MissingBlocks(const Sequence& sequence) const {
  const size_t chunk_tokens = std::min(sequence.uncommitted_count(), config_.prefill_chunk_max);
  const size_t tokens = sequence.token_count() + (sequence.wants_token() ? 1 : 0);
  const BlockCounts need = kv_.geometry().SequenceBlocks(tokens, chunk_tokens);
  const BlockCounts held = HeldBlocks(sequence);
  return {Minus(need.full, held.full), Minus(need.sliding, held.sliding)};
}

bool Scheduler::Admit(Entry& entry, bool alone) {
  Sequence& sequence = *entry.sequence;
  const bool needs_logits =
      sequence.wants_prompt_logits() && sequence.prompt_logits_done() < sequence.prompt_count();
  const size_t reused =
      kv_.Attach(sequence, needs_logits ? sequence.prompt_logits_done() : sequence.token_count());
  if (!alone) {
    BlockCounts need = MissingBlocks(sequence);
    for (const Entry* running : running_) {
      const BlockCounts missing = MissingBlocks(*running->sequence);
      need.full += missing.full;
      need.sliding += missing.sliding;
    }
    const BlockCounts total = kv_.block_counts();
    need.full += static_cast<size_t>(config_.admission_reserve * total.full);
    need.sliding += static_cast<size_t>(config_.admission_reserve * total.sliding);
    const BlockCounts have = kv_.available();
    if (need.full > have.full || need.sliding > have.sliding) {
      kv_.Release(sequence);
      return false;
    }
  }
  kv_.CountPrefixLookup(sequence.token_count(), reused);
  if (!entry.was_admitted) {
    entry.was_admitted = true;
    sequence.SetCachedPromptCount(std::min(reused, sequence.prompt_count()));
  }
  waiting_.erase(&entry);
  entry.is_running = true;
  running_.insert(&entry);
  return true;
}

Scheduler::Entry* Scheduler::LeaveStep(const StepBatch::Chunk& chunk) {
  const auto it = entries_.find(chunk.sequence->id());
  TESSERA_CHECK(it != entries_.end() && it->second->sequence.get() == chunk.sequence);
  Entry& entry = *it->second;
  TESSERA_CHECK(entry.in_step);
  entry.in_step = false;
  if (entry.pending_reason == FinishReason::kNone) return &entry;
  Retire(entry, entry.pending_reason, std::move(entry.pending_error));
  return nullptr;
}

void Scheduler::Commit(const StepBatch& batch, std::span<const SampledToken> sampled) {
  TESSERA_CHECK(batch_is_out_ && sampled.size() == batch.samples().size());
  batch_is_out_ = false;
  ++counters_.steps_committed;
  size_t next_sample = 0;  // samples stand in the order of the chunks
  for (const StepBatch::Chunk& chunk : batch.chunks()) {
    const SampledToken* token = nullptr;
    if (next_sample < sampled.size() && batch.samples()[next_sample].sequence == chunk.sequence) {
      token = &sampled[next_sample++];
    }
    if (Entry* entry = LeaveStep(chunk)) Advance(*entry, chunk.row_count, token);
  }
  TESSERA_CHECK(next_sample == sampled.size());
}

void Scheduler::Advance(Entry& entry, size_t row_count, const SampledToken* sampled) {
  Sequence& sequence = *entry.sequence;
  kv_.Commit(sequence, row_count);
  if (sampled == nullptr) {
    if (sequence.uncommitted_count() == 0) Retire(entry, FinishReason::kLength, absl::OkStatus());
    return;
  }
  if (!sampled->status.ok()) {
    Retire(entry, FinishReason::kError, sampled->status);
    return;
  }
  sequence.Append(sampled->token);
  if (sequence.is_stop(sampled->token)) {
    Retire(entry, FinishReason::kStop, absl::OkStatus());
  } else if (!sequence.wants_token() || sequence.token_count() >= config_.context_max) {
    Retire(entry, FinishReason::kLength, absl::OkStatus());
  }
}

void Scheduler::Abort(const StepBatch& batch) {
  TESSERA_CHECK(batch_is_out_);
  batch_is_out_ = false;
  ++counters_.steps_aborted;
  for (const StepBatch::Chunk& chunk : batch.chunks()) LeaveStep(chunk);
}

std::vector<std::unique_ptr<Sequence>> Scheduler::TakeFinished() {
  TESSERA_CHECK(!batch_is_out_);
  return std::exchange(finished_, {});
}

const Sequence* Scheduler::Find(SequenceId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : it->second->sequence.get();
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats = counters_;
  stats.running = running_.size();
  stats.waiting = waiting_.size();
  stats.parked = parked_count_;
  for (const Entry* entry : waiting_) stats.waiting_tokens += entry->sequence->token_count();
  stats.kv = kv_.stats();
  return stats;
}

}  // namespace tessera::router
