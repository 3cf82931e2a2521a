#pragma once

// Takes finished spans and posts them to a collector, in batches, from a thread of its own.
//
//   Put ─► bounded queue ─► "spans" thread ─► POST /v1/traces
//          full: dropped     collector away: dropped, tried again after a growing pause

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/thread.h"
#include "common/http/http_client.h"
#include "common/metrics/metrics.h"
#include "common/tracing/otlp_json.h"
#include "common/tracing/span.h"

namespace tessera {

struct SpanSinkConfig {
  std::string endpoint;  // OTLP over HTTP: "http://host:4318"; plain text only
  SpanResource resource;
  size_t queue_max = 4096;                         // spans that wait; more are dropped; > 0
  size_t batch_max = 512;                          // spans of a post; > 0
  uint64_t per_second_max = 1000;                  // spans taken in a second; more are dropped; > 0
  absl::Duration batch_wait = absl::Seconds(1);    // a span waits so long for others
  absl::Duration post_timeout = absl::Seconds(2);  // connection, and silence
  absl::Duration pause_min = absl::Seconds(1);   // after a failed post nothing is sent for so long,
  absl::Duration pause_max = absl::Seconds(30);  // doubled with each failure up to this
};

// Thread-safe.
class SpanSink {
 public:
  // `clock` and the metrics' registry are borrowed. kInvalidArgument: `endpoint` is no address.
  // That nobody listens there is no error.
  static absl::StatusOr<std::unique_ptr<SpanSink>> Start(const SpanSinkConfig& config,
                                                         const Clock& clock, Registry& registry);
  // Posts what waits and joins the thread. A collector that is away or silent is tried once, for
  // post_timeout twice at most, and as long as its name takes to be resolved.
  ~SpanSink();
  SpanSink(const SpanSink&) = delete;
  SpanSink& operator=(const SpanSink&) = delete;

  // Never waits for the collector. False: the span is dropped, and counted.
  bool Put(SpanRecord span);

  uint64_t exported_count() const { return exported_.load(); }
  uint64_t dropped_count() const { return dropped_.load(); }

 private:
  SpanSink(const SpanSinkConfig& config, HttpClient client, const Clock& clock, Registry& registry);
  void Run();
  // Fills batch_. False: closed, and nothing is left.
  bool Gather();
  void Post();
  void Drop(size_t count);
  bool IsOverRate();

  const SpanSinkConfig config_;
  const HttpClient client_;
  const Clock& clock_;
  Counter exported_metric_;
  Counter dropped_metric_;

  BoundedQueue<SpanRecord> queue_;
  std::atomic<uint64_t> exported_{0};
  std::atomic<uint64_t> dropped_{0};
  std::atomic<int64_t> second_{0};      // the current one, and the spans taken in it. Threads that
  std::atomic<uint64_t> in_second_{0};  // meet at its turn may take a few more

  std::vector<SpanRecord> batch_;  // the thread's, as the next two
  absl::Duration pause_;           // zero: the last post went well
  absl::Duration silent_until_;
  Thread thread_;
};

}  // namespace tessera
