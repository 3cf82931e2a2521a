#pragma once

// A router's engine on a tiny random checkpoint, with experts that can be taken away, without
// listeners.

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/tracing/tracer.h"
#include "common/wire/generation_wire.h"
#include "services/cli/local_experts.h"
#include "services/router/assembly/router_rooms.h"
#include "services/router/loop/engine_loop.h"
#include "tests/support/fake_clock.h"
#include "tests/support/flaky_experts.h"
#include "tests/support/temp_folder.h"

namespace tessera::testing {

// All events of one request. Thread-safe; shared with the stream's wake.
class EventReader : public std::enable_shared_from_this<EventReader> {
 public:
  // Submits and follows.
  static absl::StatusOr<std::shared_ptr<EventReader>> Submit(router::EngineLoop& loop,
                                                             wire::GenerationParams params);
  // Waits for the end. Then the others may be read.
  const wire::FinishedEvent& AwaitFinished();
  void AwaitTokens(size_t count);
  void Cancel() { stream_->Cancel(); }

  std::vector<wire::TokenOutput> outputs() const;
  std::vector<TokenId> tokens() const;
  wire::StartedEvent started() const;
  bool finished() const;
  uint32_t first_index() const;

 private:
  void Drain();

  std::shared_ptr<router::RequestStream> stream_;
  mutable absl::Mutex mutex_;
  wire::StartedEvent started_ ABSL_GUARDED_BY(mutex_);
  std::vector<wire::TokenOutput> outputs_ ABSL_GUARDED_BY(mutex_);
  uint32_t first_index_ ABSL_GUARDED_BY(mutex_) = 0;
  wire::FinishedEvent end_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

class RouterUnderTest {
 public:
  // Stops the test program if it cannot be built. The loop is not started.
  explicit RouterUnderTest(router::CapacityConfig capacity = {.context_max = 128,
                                                              .sequences_max = 8,
                                                              .waiting_max = 16,
                                                              .batch_tokens_max = 64,
                                                              .prefill_chunk_max = 16,
                                                              .logits_rows_max = 32},
                           const std::string& otlp_endpoint = "");
  ~RouterUnderTest();

  FakeClock clock;
  Registry registry;
  router::LoadBoard board;
  const std::unique_ptr<Tracer> tracer;
  router::RequestBook book{{.tracer = tracer.get()}, clock};
  FlakyExperts& experts() { return *flaky_; }
  router::EngineLoop& loop() { return *loop_; }
  const ModelSpec& spec() const { return model_->spec(); }

 private:
  const TempFolder folder_;
  std::unique_ptr<router::RouterModel> model_;
  std::unique_ptr<expert_shard::ExpertStore> store_;
  std::unique_ptr<cli::LocalExperts> local_;
  std::unique_ptr<FlakyExperts> flaky_;
  std::unique_ptr<router::RouterRooms> rooms_;
  std::unique_ptr<router::EngineLoop> loop_;
};

// Greedy, end tokens ignored.
wire::GenerationParams GreedyRequest(std::string id, std::vector<TokenId> prompt,
                                     uint32_t tokens_max);

}  // namespace tessera::testing
