#pragma once

// The requests of the engine: turns what steps produce into events of their streams.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/tracing/tracer.h"
#include "services/router/engine/token_sink.h"
#include "services/router/loop/request_stream.h"

namespace tessera::router {

// What a request that cannot be served now is told about coming back.
struct BookConfig {
  size_t token_count = SIZE_MAX;  // logits from here on are padding
  absl::Duration retry_after = absl::Seconds(1);
  Tracer* tracer = nullptr;  // borrowed; takes a span of each request that is traced; may be null
};

// Owned by the engine thread, but for Announce to Cancel, which any thread may call.
class RequestBook final : public TokenSink {
 public:
  // `clock` is borrowed.
  RequestBook(const BookConfig& config, const Clock& clock) : config_(config), clock_(clock) {}

  // The span a request will have; `incoming` is its sender's. Without tracer nobody traces it.
  Tracer::Scope BeginTrace(const std::optional<TraceContext>& incoming) const;
  // A request that will be opened, or refused, soon: from now on Cancel finds it.
  void Announce(const std::shared_ptr<RequestStream>& stream);
  // Takes an Announce back.
  void Withdraw(const std::shared_ptr<RequestStream>& stream) { Forget(stream); }
  // Waits until no announced request is left. False: `timeout` passed first.
  bool AwaitEmpty(absl::Duration timeout) const;
  // Cancels all requests with this id (a gateway that resumes one may overtake its own cancel).
  // False: none is known.
  bool Cancel(const std::string& request_id);

  // The engine thread's from here on.

  // `arrived` is Clock::Elapsed() when the request came.
  void Open(SequenceId id, std::shared_ptr<RequestStream> stream, absl::Duration arrived,
            bool wants_logprobs);
  // Ends an announced request that never became a sequence. `error` is not OK.
  void Refuse(const std::shared_ptr<RequestStream>& stream, size_t prompt_tokens,
              size_t produced_tokens, absl::Status error);

  void OnToken(const Sequence& sequence, const SampledToken& token) override;
  void OnPromptLogits(const Sequence& sequence, uint32_t position,
                      std::span<const float> logits) override;
  void OnFinished(std::unique_ptr<Sequence> sequence) override;

  // Wakes the readers of what has come since the last call.
  void WakeReaders();

  // Ids of open requests whose readers cancelled.
  std::vector<SequenceId> CancelledIds() const;
  std::vector<SequenceId> OpenIds() const;
  // Remembers that a request of so many computed tokens could not be computed on. Returns since
  // when it has come no further than that.
  absl::Duration NoteStall(SequenceId id, size_t committed);

  // Request ids of open requests, for the log: "a, b and 7 more".
  std::string NamesOf(std::span<const SequenceId> ids) const;

  size_t size() const { return records_.size(); }

 private:
  struct Record {
    std::shared_ptr<RequestStream> stream;
    absl::Duration arrived;
    bool wants_logprobs = false;
    bool started = false;
    absl::Duration first_token_at;
    absl::Duration last_token_at;
    std::vector<wire::TokenOutput> prompt;                    // outputs gathered for Started
    size_t stalled_rows = 0;                                  // computed when it stalled first
    absl::Duration stalled_since = absl::InfiniteDuration();  // infinite: it is not
  };

  void PutSpan(const Record& record, const Sequence& sequence, const wire::FinishedEvent& event);
  void Start(Record& record, const Sequence& sequence);
  void Forget(const std::shared_ptr<RequestStream>& stream);
  absl::Duration RetryAfter(const absl::Status& error) const;

  const BookConfig config_;
  const Clock& clock_;
  absl::flat_hash_map<SequenceId, Record> records_;
  std::vector<std::shared_ptr<RequestStream>> to_wake_;

  mutable absl::Mutex mutex_;
  std::multimap<std::string, std::shared_ptr<RequestStream>> announced_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::router
