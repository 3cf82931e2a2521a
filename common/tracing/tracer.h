#pragma once

// A service's tracing: which requests are traced, under which ids, and where spans go.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "common/tracing/span.h"
#include "common/tracing/span_sink.h"
#include "common/tracing/trace_context.h"

namespace tessera {

struct TracerConfig {
  std::string endpoint;     // see SpanSinkConfig; "": no span is made, contexts are carried on
  double sample_ratio = 0;  // 0..1, of the requests that come without a trace; 0 without endpoint
  SpanResource resource;

  // kInvalidArgument, naming the config file's field.
  absl::Status Validate() const;
};

// Thread-safe.
class Tracer {
 public:
  // `clock` and `registry` are borrowed. Errors: Validate's.
  static absl::StatusOr<std::unique_ptr<Tracer>> Start(const TracerConfig& config,
                                                       const Clock& clock, Registry& registry);

  // The trace of a request that came with `incoming`, or without one: then a new trace begins, with
  // an id nobody else has. `context.span` is the request's own span, `parent` the sender's
  // (kNoSpan: none). Without endpoint an incoming context is passed on as it is, so that the next
  // service's span has the parent that was told.
  struct Scope {
    TraceContext context;
    SpanId parent{};
    bool is_recorded = false;  // a span is to be Put
  };
  Scope Begin(const std::optional<TraceContext>& incoming);

  // As SpanSink::Put; drops the span without a word if there is no endpoint.
  void Put(SpanRecord span);

  // The wall clock when Clock::Elapsed was `elapsed`.
  absl::Time TimeOf(absl::Duration elapsed) const {
    return clock_.Now() - (clock_.Elapsed() - elapsed);
  }
  const SpanSink* sink() const { return sink_.get(); }  // null: no endpoint

 private:
  Tracer(const TracerConfig& config, const Clock& clock);
  uint64_t Draw();  // not zero

  const TracerConfig config_;
  const Clock& clock_;
  const uint64_t seed_;
  std::atomic<uint64_t> counter_{0};
  std::unique_ptr<SpanSink> sink_;
};

}  // namespace tessera
