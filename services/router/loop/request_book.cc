#include "services/router/loop/request_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "services/router/sampling/sampler.h"

namespace tessera::router {
namespace {

wire::TokenOutput ToOutput(const SampledToken& token, bool wants_logprobs) {
  wire::TokenOutput output;
  output.token = token.token;
  if (wants_logprobs) {
    output.logprob = token.logprob;
    output.rank = token.rank;
    for (const TokenLogprob& best : token.top_logprobs) {
      output.top.push_back({best.token, best.logprob});
    }
  }
  output.routed_experts = token.routed_experts;
  return output;
}

wire::FinishKind KindOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return wire::FinishKind::kStop;
    case FinishReason::kLength:
      return wire::FinishKind::kLength;
    case FinishReason::kCancelled:
      return wire::FinishKind::kCancelled;
    case FinishReason::kError:
    case FinishReason::kNone:
      break;
  }
  return wire::FinishKind::kError;
}

}  // namespace

Tracer::Scope RequestBook::BeginTrace(const std::optional<TraceContext>& incoming) const {
  if (config_.tracer == nullptr || !incoming) return {};
  return config_.tracer->Begin(incoming);
}

void RequestBook::Announce(const std::shared_ptr<RequestStream>& stream) {
  absl::MutexLock lock(&mutex_);
  announced_.emplace(stream->request_id(), stream);
}

bool RequestBook::Cancel(const std::string& request_id) {
  absl::MutexLock lock(&mutex_);
  const auto [begin, end] = announced_.equal_range(request_id);
  for (auto it = begin; it != end; ++it) it->second->Cancel();
  return begin != end;
}

bool RequestBook::AwaitEmpty(absl::Duration timeout) const {
  const auto empty = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return announced_.empty(); };
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&empty), timeout);
}

void RequestBook::Forget(const std::shared_ptr<RequestStream>& stream) {
  absl::MutexLock lock(&mutex_);
  const auto [begin, end] = announced_.equal_range(stream->request_id());
  const auto it =
      std::find_if(begin, end, [&](const auto& entry) { return entry.second == stream; });
  TESSERA_CHECK(it != end);
  announced_.erase(it);
}

void RequestBook::Open(SequenceId id, std::shared_ptr<RequestStream> stream, absl::Duration arrived,
                       bool wants_logprobs) {
  Record record;
  record.stream = std::move(stream);
  record.arrived = arrived;
  record.wants_logprobs = wants_logprobs;
  TESSERA_CHECK(records_.emplace(id, std::move(record)).second);
}

absl::Duration RequestBook::RetryAfter(const absl::Status& error) const {
  const bool comes_back = error.code() == absl::StatusCode::kUnavailable ||
                          error.code() == absl::StatusCode::kResourceExhausted;
  return comes_back ? config_.retry_after : absl::ZeroDuration();
}

void RequestBook::Refuse(const std::shared_ptr<RequestStream>& stream, size_t prompt_tokens,
                         size_t produced_tokens, absl::Status error) {
  wire::FinishedEvent event;
  event.kind = wire::FinishKind::kError;
  event.prompt_tokens = static_cast<uint32_t>(prompt_tokens);
  event.produced_tokens = static_cast<uint32_t>(produced_tokens);
  event.retry_after = RetryAfter(error);
  event.error = std::move(error);
  stream->PutFinished(std::move(event));
  Forget(stream);
  to_wake_.push_back(stream);
}

void RequestBook::Start(Record& record, const Sequence& sequence) {
  if (record.started) return;
  record.started = true;
  wire::StartedEvent event;
  event.prompt_tokens = static_cast<uint32_t>(sequence.prompt_count());
  event.cached_tokens = static_cast<uint32_t>(sequence.cached_prompt_count());
  event.prompt = std::move(record.prompt);
  record.stream->PutStarted(std::move(event));
}

void RequestBook::OnToken(const Sequence& sequence, const SampledToken& token) {
  Record& record = records_.at(sequence.id());
  const absl::Duration now = clock_.Elapsed();
  if (!record.started) {
    Start(record, sequence);
    record.first_token_at = now;
  }
  record.last_token_at = now;
  wire::TokenOutput output = ToOutput(token, record.wants_logprobs);
  output.degraded = sequence.degraded();
  record.stream->PutToken(static_cast<uint32_t>(sequence.produced_count() - 1), std::move(output));
  to_wake_.push_back(record.stream);
}

void RequestBook::OnPromptLogits(const Sequence& sequence, uint32_t position,
                                 std::span<const float> logits) {
  Record& record = records_.at(sequence.id());
  // The logits of a position speak of the token behind it; of the first token nothing does.
  if (position == 0) record.prompt.push_back({.token = sequence.prompt()[0]});
  if (position + 1 >= sequence.prompt_count()) return;
  SampledToken scored;
  scored.token = sequence.prompt()[position + 1];
  // The engine has seen that all logits are finite.
  TESSERA_CHECK(ComputeLogprobs(logits.first(std::min(config_.token_count, logits.size())),
                                scored.token, sequence.sampling().logprobs.value_or(0), scored)
                    .ok());
  record.prompt.push_back(ToOutput(scored, /*wants_logprobs=*/true));
}

void RequestBook::OnFinished(std::unique_ptr<Sequence> sequence) {
  const auto it = records_.find(sequence->id());
  TESSERA_CHECK(it != records_.end());
  Record& record = it->second;
  const bool computed = sequence->finish_reason() == FinishReason::kLength ||
                        sequence->finish_reason() == FinishReason::kStop;
  const absl::Duration now = clock_.Elapsed();
  const bool had_tokens = record.started;
  if (computed) Start(record, *sequence);

  wire::FinishedEvent event;
  event.kind = KindOf(sequence->finish_reason());
  event.prompt_tokens = static_cast<uint32_t>(sequence->prompt_count());
  event.produced_tokens = static_cast<uint32_t>(sequence->produced_count());
  event.cached_tokens = static_cast<uint32_t>(sequence->cached_prompt_count());
  event.degraded = sequence->degraded();
  event.error = sequence->error();
  event.retry_after = RetryAfter(sequence->error());
  const bool had_step = sequence->first_step_at() > -absl::InfiniteDuration();
  const absl::Duration first_step = had_step ? sequence->first_step_at() : now;
  event.queued = absl::Trunc(first_step - record.arrived, absl::Microseconds(1));
  const absl::Duration prefilled = had_tokens ? record.first_token_at : now;
  event.prefill = absl::Trunc(prefilled - first_step, absl::Microseconds(1));
  if (had_tokens) {
    event.decode = absl::Trunc(record.last_token_at - prefilled, absl::Microseconds(1));
  }
  if (record.stream->scope().is_recorded) PutSpan(record, *sequence, event);
  record.stream->PutFinished(std::move(event));
  Forget(record.stream);
  to_wake_.push_back(std::move(record.stream));
  records_.erase(it);
}

void RequestBook::PutSpan(const Record& record, const Sequence& sequence,
                          const wire::FinishedEvent& event) {
  const absl::Time arrived = config_.tracer->TimeOf(record.arrived);
  SpanRecord span;
  span.context = record.stream->scope().context;
  span.parent = record.stream->scope().parent;
  span.name = "generate";
  span.start = arrived;
  span.end = config_.tracer->TimeOf(clock_.Elapsed());
  // A queue ends where prefill begins, and prefill where decode begins.
  if (sequence.first_step_at() > -absl::InfiniteDuration()) {
    span.events.push_back({"prefill", arrived + event.queued});
  }
  if (record.started) span.events.push_back({"decode", arrived + event.queued + event.prefill});
  const std::string reason(NameOf(sequence.finish_reason()));
  if (event.kind == wire::FinishKind::kError || event.kind == wire::FinishKind::kCancelled) {
    span.error_type = event.error.ok() ? reason : absl::StatusCodeToString(event.error.code());
  }
  span.attributes = {{"tessera.request_id", record.stream->request_id()},
                     {"tessera.prompt_tokens", int64_t{event.prompt_tokens}},
                     {"tessera.cached_tokens", int64_t{event.cached_tokens}},
                     {"tessera.produced_tokens", int64_t{event.produced_tokens}},
                     {"tessera.finish_reason", reason},
                     {"tessera.queue_seconds", absl::ToDoubleSeconds(event.queued)},
                     {"tessera.prefill_seconds", absl::ToDoubleSeconds(event.prefill)},
                     {"tessera.decode_seconds", absl::ToDoubleSeconds(event.decode)}};
  config_.tracer->Put(std::move(span));
}

std::string RequestBook::NamesOf(std::span<const SequenceId> ids) const {
  constexpr size_t kNamesMax = 4;
  std::vector<std::string> names;
  for (const SequenceId id : ids) {
    const auto it = records_.find(id);
    if (it != records_.end()) names.push_back(it->second.stream->request_id());
  }
  const size_t more = names.size() > kNamesMax ? names.size() - kNamesMax : 0;
  names.resize(names.size() - more);
  std::string text = absl::StrJoin(names, ", ");
  if (more > 0) absl::StrAppend(&text, " and ", more, " more");
  return text;
}

void RequestBook::WakeReaders() {
  std::ranges::sort(to_wake_);
  const auto repeated = std::ranges::unique(to_wake_);
  to_wake_.erase(repeated.begin(), repeated.end());
  for (const std::shared_ptr<RequestStream>& stream : to_wake_) stream->Wake();
  to_wake_.clear();
}

std::vector<SequenceId> RequestBook::CancelledIds() const {
  std::vector<SequenceId> ids;
  for (const auto& [id, record] : records_) {
    if (record.stream->cancelled()) ids.push_back(id);
  }
  return ids;
}

std::vector<SequenceId> RequestBook::OpenIds() const {
  std::vector<SequenceId> ids;
  for (const auto& [id, record] : records_) ids.push_back(id);
  return ids;
}

absl::Duration RequestBook::NoteStall(SequenceId id, size_t committed) {
  Record& record = records_.at(id);
  // A preempted sequence computes again what it had: that is no progress.
  const bool moved = committed > record.stalled_rows;
  if (moved || record.stalled_since == absl::InfiniteDuration()) {
    record.stalled_rows = std::max(record.stalled_rows, committed);
    record.stalled_since = clock_.Elapsed();
  }
  return record.stalled_since;
}

}  // namespace tessera::router
