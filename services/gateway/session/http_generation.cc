#include "services/gateway/session/http_generation.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/http/sse_writer.h"

namespace tessera::gateway {

namespace {

// The Server-Timing header of the W3C: milliseconds by name.
std::string ServerTiming(const Timings& timings) {
  std::string text;
  const auto add = [&text](const char* name, absl::Duration duration) {
    if (duration == absl::ZeroDuration()) return;
    absl::StrAppendFormat(&text, "%s%s;dur=%.3f", text.empty() ? "" : ", ", name,
                          absl::ToDoubleMilliseconds(duration));
  };
  add("queue", timings.queue);
  add("prefill", timings.prefill);
  add("ttft", timings.first_token);
  add("decode", timings.decode);
  return text;
}

}  // namespace

std::vector<HttpHeader> HeadersOf(const HttpCall& call, RateLimiter& limiter) {
  std::vector<HttpHeader> headers = {{"x-request-id", call.request_id}};
  if (call.dialect == ErrorDialect::kAnthropic) headers.push_back({"request-id", call.request_id});
  if (call.key == nullptr) return headers;
  for (auto& [name, value] : limiter.HeadersFor(*call.key)) {
    headers.push_back({std::move(name), std::move(value)});
  }
  return headers;
}

void SendError(const HttpCall& call, RateLimiter& limiter, const absl::Status& status) {
  SendError(call, limiter, ToApiError(status));
}

void SendError(const HttpCall& call, RateLimiter& limiter, const ApiError& error) {
  ErrorReply written = WriteErrorReply(error, call.dialect, call.request_id);
  HttpResponse response{.status = written.http_status, .headers = HeadersOf(call, limiter)};
  for (auto& [name, value] : written.headers) {
    response.headers.push_back({std::move(name), std::move(value)});
  }
  response.body = std::move(written.body);
  call.reply->Send(std::move(response));
}

std::shared_ptr<HttpGeneration> HttpGeneration::Start(const SessionRooms& rooms,
                                                      PreparedRequest prepared,
                                                      const ReplyHead& head, HttpCall call) {
  auto generation =
      std::make_shared<HttpGeneration>(rooms, std::move(prepared), head, std::move(call));
  // The reply keeps the generation until it has ended; the generation keeps the reply.
  generation->call_.reply->OnGone(
      [generation] { generation->session_->Abort(AbortCause::kClient); });
  if (generation->call_.reply->is_gone()) return generation;
  if (const absl::Status started = generation->session_->Start(); !started.ok()) {
    generation->OnError(started);
  }
  return generation;
}

HttpGeneration::HttpGeneration(const SessionRooms& rooms, PreparedRequest prepared,
                               const ReplyHead& head, HttpCall call)
    : clock_(rooms.clock),
      limiter_(rooms.limiter),
      call_(std::move(call)),
      head_(head),
      session_(std::make_shared<GenerationSession>(
          rooms, std::move(prepared), call_.key, call_.request_id, call_.received,
          [reply = call_.reply](std::function<void()> task) { reply->Post(std::move(task)); },
          *this)),
      writer_(session_->prepared().request.stream
                  ? MakeStreamWriter(session_->prepared().request, head)
                  : nullptr),
      written_at_(rooms.clock.Elapsed()) {
  if (writer_ == nullptr) outputs_.resize(session_->prepared().choice_count());
}

HttpGeneration::~HttpGeneration() { session_->Abort(AbortCause::kInternal); }

void HttpGeneration::BeginStream() {
  if (std::exchange(head_sent_, true)) return;
  HttpResponse head = SseHead();
  for (HttpHeader& header : HeadersOf(call_, limiter_)) head.headers.push_back(std::move(header));
  call_.reply->Begin(std::move(head));
}

void HttpGeneration::Write(std::string bytes) {
  if (bytes.empty()) return;
  BeginStream();
  written_at_ = clock_.Elapsed();
  call_.reply->Write(std::move(bytes));
}

void HttpGeneration::Ping(std::shared_ptr<HttpGeneration> generation, absl::Duration interval) {
  const std::shared_ptr<HttpReply> reply = generation->call_.reply;
  reply->Post([self = std::move(generation), interval] {
    if (self->writer_ == nullptr || self->clock_.Elapsed() - self->written_at_ < interval) return;
    std::string bytes;
    self->writer_->Ping(bytes);
    self->Write(std::move(bytes));
  });
}

void HttpGeneration::GiveUp(std::shared_ptr<HttpGeneration> generation,
                            const absl::Status& status) {
  const std::shared_ptr<HttpReply> reply = generation->call_.reply;
  reply->Post([self = std::move(generation), status] {
    if (self->session_->is_over()) return;
    self->session_->Abort(AbortCause::kInternal);
    self->OnError(status);
  });
}

void HttpGeneration::OnBegin(uint32_t choice, const PromptReport& prompt, const Usage& usage) {
  if (writer_ == nullptr) {
    outputs_[choice].prompt = prompt;
    return;
  }
  std::string bytes;
  writer_->Begin(choice, prompt, usage, bytes);
  Write(std::move(bytes));
}

void HttpGeneration::OnStep(uint32_t choice, const ChoiceStep& step, const Usage& usage) {
  if (writer_ == nullptr) {
    outputs_[choice].Append(step);
    return;
  }
  std::string bytes;
  writer_->Push(choice, step, usage, bytes);
  Write(std::move(bytes));
}

void HttpGeneration::OnChoiceEnd(uint32_t choice, const ChoiceEnd& end, const Usage& usage) {
  if (writer_ == nullptr) {
    outputs_[choice].end = end;
    return;
  }
  std::string bytes;
  writer_->Finish(choice, end, usage, bytes);
  Write(std::move(bytes));
}

void HttpGeneration::OnEnd(const Usage& usage) {
  const auto keep = shared_from_this();  // the end of the reply drops its reference
  if (writer_ == nullptr) {
    std::vector<HttpHeader> headers = HeadersOf(call_, limiter_);
    if (std::string timing = ServerTiming(usage.timings); !timing.empty()) {
      headers.push_back({"server-timing", std::move(timing)});
    }
    call_.reply->Send({.status = 200,
                       .headers = std::move(headers),
                       .body = WriteReply(session_->prepared().request, head_, outputs_, usage)});
    return;
  }
  std::string bytes;
  writer_->End(usage, bytes);
  Write(std::move(bytes));
  call_.reply->End();
}

void HttpGeneration::OnError(const absl::Status& status) {
  const auto keep = shared_from_this();
  if (!head_sent_) {
    SendError(call_, limiter_, status);
    return;
  }
  std::string bytes;
  writer_->Fail(ToApiError(status), bytes);
  Write(std::move(bytes));
  call_.reply->End();
}

void OpenGenerations::Add(const std::shared_ptr<HttpGeneration>& generation) {
  absl::MutexLock lock(&mutex_);
  open_.push_back(generation);
}

void OpenGenerations::Ping(absl::Duration interval) {
  for (auto& generation : Open()) HttpGeneration::Ping(std::move(generation), interval);
}

void OpenGenerations::GiveUp(const absl::Status& status) {
  for (auto& generation : Open()) HttpGeneration::GiveUp(std::move(generation), status);
}

std::vector<std::shared_ptr<HttpGeneration>> OpenGenerations::Open() {
  std::vector<std::shared_ptr<HttpGeneration>> open;
  absl::MutexLock lock(&mutex_);
  std::erase_if(open_, [&open](const std::weak_ptr<HttpGeneration>& generation) {
    auto locked = generation.lock();
    if (locked == nullptr) return true;
    open.push_back(std::move(locked));
    return false;
  });
  return open;
}

}  // namespace tessera::gateway
