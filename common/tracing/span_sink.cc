#include "common/tracing/span_sink.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"

namespace tessera {
namespace {

constexpr const char* kPath = "/v1/traces";
constexpr size_t kReplyBytesMax = size_t{64} << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<SpanSink>> SpanSink::Start(const SpanSinkConfig& config,
                                                          const Clock& clock, Registry& registry) {
  HttpClientConfig http;
  http.connect_timeout = config.post_timeout;
  http.silence_max = config.post_timeout;
  http.body_bytes_max = kReplyBytesMax;
  TESSERA_ASSIGN_OR_RETURN(HttpClient client, HttpClient::For(config.endpoint, http));
  std::unique_ptr<SpanSink> sink(new SpanSink(config, std::move(client), clock, registry));
  sink->thread_ = Thread("spans", [s = sink.get()](const std::stop_token&) { s->Run(); });
  return sink;
}

SpanSink::SpanSink(const SpanSinkConfig& config, HttpClient client, const Clock& clock,
                   Registry& registry)
    : config_(config),
      client_(std::move(client)),
      clock_(clock),
      exported_metric_(registry.AddCounter("tessera_spans_exported_total",
                                           "Spans the trace collector has taken.")),
      dropped_metric_(registry.AddCounter(
          "tessera_spans_dropped_total",
          "Spans lost: too many at once, or the trace collector was away or refused them.")),
      queue_(config.queue_max) {}

SpanSink::~SpanSink() {
  queue_.Close();
  thread_.Join();
}

bool SpanSink::IsOverRate() {
  const int64_t second = absl::ToInt64Seconds(clock_.Elapsed());
  if (second_.exchange(second, std::memory_order_relaxed) != second) in_second_.store(0);
  return in_second_.fetch_add(1, std::memory_order_relaxed) >= config_.per_second_max;
}

bool SpanSink::Put(SpanRecord span) {
  if (!IsOverRate() && queue_.TryPush(std::move(span))) return true;
  Drop(1);
  return false;
}

void SpanSink::Drop(size_t count) {
  dropped_.fetch_add(count);
  dropped_metric_.Increment(static_cast<double>(count));
}

void SpanSink::Run() {
  while (Gather()) {
    if (clock_.Elapsed() < silent_until_) {
      Drop(batch_.size());
    } else {
      Post();
    }
    batch_.clear();
  }
}

bool SpanSink::Gather() {
  std::optional<SpanRecord> span = queue_.Pop();
  if (!span) return false;
  const absl::Duration end = clock_.Elapsed() + config_.batch_wait;
  while (span) {
    batch_.push_back(*std::move(span));
    if (batch_.size() >= config_.batch_max) return true;
    span = queue_.PopFor(std::max(end - clock_.Elapsed(), absl::ZeroDuration()));
  }
  return true;
}

void SpanSink::Post() {
  const auto ignore = [](std::string_view) { return absl::OkStatus(); };
  const absl::StatusOr<HttpAnswer> answer =
      client_.PostJson(kPath, WriteOtlpJson(config_.resource, batch_), ignore);
  absl::Status status = answer.status();
  if (answer.ok() && answer->status / 100 != 2) {
    status = absl::UnavailableError(absl::StrCat("it answers with status ", answer->status));
  }
  const bool was_away = pause_ > absl::ZeroDuration();
  if (status.ok()) {
    exported_.fetch_add(batch_.size());
    exported_metric_.Increment(static_cast<double>(batch_.size()));
    pause_ = absl::ZeroDuration();
    if (was_away) TESSERA_LOG(INFO) << "the trace collector takes spans again";
    return;
  }
  Drop(batch_.size());
  pause_ = std::clamp(2 * pause_, config_.pause_min, config_.pause_max);
  silent_until_ = clock_.Elapsed() + pause_;
  if (was_away) return;
  TESSERA_LOG(WARNING) << "spans are dropped until the trace collector at " << config_.endpoint
                       << " takes them: " << status.message();
}

}  // namespace tessera
