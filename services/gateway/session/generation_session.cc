#include "services/gateway/session/generation_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "services/gateway/session/request_log.h"
#include "services/gateway/session/session_span.h"

namespace tessera::gateway {
namespace {

absl::Duration TimeoutOf(const GenerationRequest& request, const SessionConfig& config) {
  return std::min(request.timeout.value_or(config.request_timeout), config.request_timeout);
}

Tracer::Scope ScopeOf(const SessionRooms& rooms, const PreparedRequest& prepared) {
  if (rooms.tracer != nullptr) return rooms.tracer->Begin(prepared.trace);
  return {.context = prepared.trace.value_or(TraceContext{})};
}

// Nobody gets further to the front than the key's tier allows.
PreparedRequest Bounded(PreparedRequest prepared, const ApiKey* key) {
  if (key != nullptr) {
    prepared.request.priority = std::max(prepared.request.priority, key->priority_min);
  }
  return prepared;
}

AbortCause CauseOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return AbortCause::kDeadline;
    case absl::StatusCode::kUnavailable:
      return AbortCause::kRouter;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kResourceExhausted:
      return AbortCause::kRefused;
    default:
      return AbortCause::kInternal;
  }
}

}  // namespace

absl::Status CheckLimits(const SessionRooms& rooms, const ApiKey* key) {
  if (key == nullptr) return absl::OkStatus();
  absl::Status refused = rooms.limiter.Check(*key);
  if (!refused.ok()) rooms.metrics.CountAbort(AbortCause::kRefused);
  return refused;
}

GenerationSession::GenerationSession(const SessionRooms& rooms, PreparedRequest prepared,
                                     std::shared_ptr<const ApiKey> key, std::string request_id,
                                     absl::Duration received, PostTask post, SessionSink& sink)
    : rooms_(rooms),
      prepared_(Bounded(std::move(prepared), key.get())),
      key_(std::move(key)),
      request_id_(std::move(request_id)),
      received_(received),
      deadline_(received + TimeoutOf(prepared_.request, rooms.config)),
      scope_(ScopeOf(rooms, prepared_)),
      post_(std::move(post)),
      sink_(sink) {
  const GenerationRequest& request = prepared_.request;
  for (uint32_t i = 0; i < prepared_.choice_count(); ++i) {
    OutputParserOptions options;
    options.reasoning = rooms_.config.reasoning;
    if (request.tool_choice == ToolChoice::kAuto) {
      options.tools = rooms_.config.tools;
      options.tool_options = {.tools = request.tools,
                              .parallel = request.parallel_tool_calls,
                              .next_call_id = rooms_.next_call_id};
    }
    choices_.push_back(std::make_unique<Choice>(prepared_, i, rooms_.model, std::move(options)));
  }
  begun_.resize(choices_.size());
  last_token_at_.resize(choices_.size());
  absl::MutexLock lock(&mutex_);
  flights_.resize(choices_.size());
}

absl::Status GenerationSession::Start() {
  if (key_ != nullptr) {
    if (absl::Status admitted = rooms_.limiter.Admit(*key_, tokens_expected()); !admitted.ok()) {
      is_over_ = true;
      rooms_.metrics.CountAbort(AbortCause::kRefused);
      return admitted;
    }
  }
  is_admitted_ = true;
  rooms_.metrics.prompt_tokens.Increment(prepared_.prompt_tokens());
  rooms_.metrics.prompt_token_count.Observe(prepared_.prompt_tokens());
  for (uint32_t i = 0; i < choices_.size(); ++i) {
    if (absl::Status queued = Enqueue(i); !queued.ok()) {
      Abort(AbortCause::kRefused);
      return queued;
    }
  }
  return absl::OkStatus();
}

absl::Status GenerationSession::Enqueue(uint32_t choice) {
  AdmissionRequest request;
  request.key = key_ == nullptr ? "" : key_->name;
  request.weight = key_ == nullptr ? 1 : key_->weight;
  request.tokens = prepared_.choice_tokens_expected(choice, rooms_.config.reply_tokens_expected);
  request.priority = prepared_.request.priority;
  request.deadline = deadline_;
  // Weak: the queue does not keep a session whose client is gone.
  request.start = [weak = weak_from_this(), choice] {
    const auto self = weak.lock();
    return self == nullptr ? absl::CancelledError("the request is over") : self->Launch(choice);
  };
  request.refuse = [weak = weak_from_this()](const absl::Status& status) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->post_([self, status] { self->Fail(status); });
  };
  TESSERA_ASSIGN_OR_RETURN(const uint64_t ticket, rooms_.admission.Enqueue(std::move(request)));
  absl::MutexLock lock(&mutex_);
  flights_[choice].ticket = ticket;
  return absl::OkStatus();
}

absl::Status GenerationSession::Launch(uint32_t choice) {
  PoolRequest request;
  request.cost_tokens =
      prepared_.choice_tokens_expected(choice, rooms_.config.reply_tokens_expected);
  absl::MutexLock lock(&mutex_);
  if (cancelled_) return absl::CancelledError("the request is over");
  // Before the prompt is copied.
  TESSERA_RETURN_IF_ERROR(rooms_.pool.CheckRoom(request.cost_tokens));
  request.params = ParamsOf(prepared_, choice);
  request.params.request_id = request_id_;
  if (scope_.context.trace != kNoTrace) request.params.trace = scope_.context;
  request.deadline = deadline_;
  request.callback = [weak = weak_from_this(), choice](wire::TokenEvent event) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->post_([self, choice, event = std::move(event)] { self->OnEvent(choice, event); });
  };
  // Before it is sent: the router's own waiting time counts from there on.
  flights_[choice].launched = rooms_.clock.Elapsed();
  TESSERA_ASSIGN_OR_RETURN(flights_[choice].number, rooms_.pool.Submit(std::move(request)));
  flights_[choice].is_running = true;
  rooms_.metrics.running.Add(1);
  return absl::OkStatus();
}

void GenerationSession::OnEvent(uint32_t choice, const wire::TokenEvent& event) {
  if (is_over_ || choices_[choice]->has_ended()) return;
  if (const auto* started = std::get_if<wire::StartedEvent>(&event.event)) {
    OnStarted(choice, *started);
  } else if (const auto* tokens = std::get_if<wire::TokensEvent>(&event.event)) {
    OnTokens(choice, *tokens);
  } else {
    OnFinished(choice, std::get<wire::FinishedEvent>(event.event));
  }
}

void GenerationSession::OnStarted(uint32_t choice, const wire::StartedEvent& event) {
  if (begun_[choice]) return;
  begun_[choice] = true;
  // The prompt counts once, whatever the number of its choices.
  if (choice % prepared_.request.n == 0) {
    cached_tokens_ += event.cached_tokens;
    rooms_.metrics.prefix_queries.Increment(event.prompt_tokens);
    rooms_.metrics.prefix_hits.Increment(event.cached_tokens);
  }
  sink_.OnBegin(choice, choices_[choice]->Prompt(event), usage());
}

void GenerationSession::OnTokens(uint32_t choice, const wire::TokensEvent& event) {
  if (!begun_[choice]) OnStarted(choice, {});
  const absl::Duration now = rooms_.clock.Elapsed();
  if (!std::exchange(has_token_, true)) {
    timings_.first_token = now - received_;
    rooms_.metrics.time_to_first_token.Observe(absl::ToDoubleSeconds(timings_.first_token));
  }
  absl::Duration& last = last_token_at_[choice];
  if (last > absl::ZeroDuration()) {
    rooms_.metrics.inter_token_latency.Observe(absl::ToDoubleSeconds(now - last) /
                                               static_cast<double>(event.tokens.size()));
  }
  last = now;
  rooms_.metrics.generation_tokens.Increment(static_cast<double>(event.tokens.size()));
  // A stop string: the router does not know and would go on.
  if (choices_[choice]->Push(event)) Cancel(choice);
  Tell(choice);
}

void GenerationSession::OnFinished(uint32_t choice, const wire::FinishedEvent& event) {
  if (event.kind == wire::FinishKind::kError || event.kind == wire::FinishKind::kCancelled) {
    absl::Status status = event.error;
    if (status.ok()) status = absl::UnavailableError("the router gave the request up");
    Fail(status);
    return;
  }
  if (!begun_[choice]) OnStarted(choice, {});
  NoteTimings(choice, event);
  choices_[choice]->End(event);
  Tell(choice);
}

// Of a request that was resumed: the last router's.
void GenerationSession::NoteTimings(uint32_t choice, const wire::FinishedEvent& event) {
  absl::Duration queue = event.queued - received_;
  {
    absl::MutexLock lock(&mutex_);
    queue += flights_[choice].launched;
  }
  rooms_.metrics.queue_time.Observe(absl::ToDoubleSeconds(queue));
  rooms_.metrics.prefill_time.Observe(absl::ToDoubleSeconds(event.prefill));
  rooms_.metrics.decode_time.Observe(absl::ToDoubleSeconds(event.decode));
  if (event.produced_tokens > 1) {
    rooms_.metrics.time_per_output_token.Observe(absl::ToDoubleSeconds(event.decode) /
                                                 (event.produced_tokens - 1));
  }
  timings_.queue = std::max(timings_.queue, queue);
  timings_.prefill = std::max(timings_.prefill, event.prefill);
  timings_.decode = std::max(timings_.decode, event.decode);
}

void GenerationSession::Tell(uint32_t choice) {
  const ChoiceStep step = choices_[choice]->TakeStep();
  sink_.OnStep(choice, step, usage());
  if (is_over_ || !choices_[choice]->has_ended()) return;
  rooms_.metrics.CountSuccess(choices_[choice]->end().reason);
  {
    absl::MutexLock lock(&mutex_);
    CountOut(flights_[choice]);
  }
  sink_.OnChoiceEnd(choice, choices_[choice]->end(), usage());
  if (is_over_ || ++ended_count_ < choices_.size()) return;
  Close("");
  sink_.OnEnd(usage());
}

void GenerationSession::Fail(const absl::Status& status) {
  if (is_over_) return;
  if (status.code() == absl::StatusCode::kInternal) {
    TESSERA_LOG(ERROR) << "request " << request_id_ << ": " << status.message();
  }
  Abort(CauseOf(status));
  sink_.OnError(status);
}

void GenerationSession::Abort(AbortCause cause) {
  if (is_over_) return;
  Close(ErrorTypeOf(cause));
  if (is_admitted_) rooms_.metrics.CountAbort(cause);
  for (uint32_t i = 0; i < choices_.size(); ++i) {
    if (!choices_[i]->has_ended()) Cancel(i);
  }
}

void GenerationSession::Cancel(uint32_t choice) {
  Flight flight;
  {
    absl::MutexLock lock(&mutex_);
    if (is_over_) cancelled_ = true;
    flight = flights_[choice];
  }
  if (flight.ticket != 0) rooms_.admission.Cancel(flight.ticket);
  if (flight.number != 0) rooms_.pool.Cancel(flight.number);
}

void GenerationSession::CountOut(Flight& flight) {
  if (std::exchange(flight.is_running, false)) rooms_.metrics.running.Add(-1);
}

void GenerationSession::Close(std::string_view error_type) {
  is_over_ = true;
  if (!is_admitted_) return;
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;  // what still waits in the queue is not launched any more
    for (Flight& flight : flights_) CountOut(flight);
  }
  const Usage used = usage();
  rooms_.metrics.reasoning_tokens.Increment(used.reasoning_tokens);
  rooms_.metrics.generation_token_count.Observe(used.completion_tokens);
  rooms_.metrics.request_latency.Observe(absl::ToDoubleSeconds(rooms_.clock.Elapsed() - received_));
  for (const auto& choice : choices_) {
    rooms_.metrics.parse_failures.Increment(choice->parse_failures());
  }
  Report(error_type, used);
  if (key_ != nullptr) {
    rooms_.limiter.Release(*key_, tokens_expected(), used.prompt_tokens + used.completion_tokens);
  }
}

// To those who trace requests and to those who read of them in the log.
void GenerationSession::Report(std::string_view error_type, const Usage& used) {
  if (!scope_.is_recorded && !rooms_.config.log_requests) return;
  std::vector<std::string> reasons;
  for (const auto& choice : choices_) {
    if (choice->has_ended()) reasons.emplace_back(NameOf(choice->end().reason));
  }
  if (rooms_.config.log_requests) {
    LogEndedRequest({.request_id = request_id_,
                     .key = key_ == nullptr ? "" : key_->name,
                     .trace = scope_.context.trace,
                     .error_type = error_type,
                     .finish_reasons = reasons,
                     .total = rooms_.clock.Elapsed() - received_},
                    prepared_, used);
  }
  if (!scope_.is_recorded) return;
  SessionSpan span{.scope = scope_, .request_id = request_id_, .error_type = error_type};
  span.start = rooms_.tracer->TimeOf(received_);
  span.end = rooms_.clock.Now();
  if (has_token_) span.first_token = span.start + timings_.first_token;
  span.finish_reasons = std::move(reasons);
  rooms_.tracer->Put(SpanOf(span, prepared_, used));
}

Usage GenerationSession::usage() const {
  Usage usage;
  usage.prompt_tokens = prepared_.prompt_tokens();
  usage.cached_tokens = cached_tokens_;
  usage.timings = timings_;
  for (const auto& choice : choices_) {
    usage.completion_tokens += choice->completion_tokens();
    usage.reasoning_tokens += choice->reasoning_tokens();
  }
  return usage;
}

}  // namespace tessera::gateway
