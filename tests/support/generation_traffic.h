#pragma once

// Many requests on one stream to a router, as a gateway has them: what was under way when a router
// went is sent again with the tokens it has.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "services/gateway/upstream/router_client.h"

namespace tessera::testing {

struct TrafficConfig {
  std::string router_address;  // host:port
  std::vector<std::vector<TokenId>> prompts;
  size_t requests = 24;   // greedy; request i has prompt i modulo prompts.size(), and token i
  uint32_t tokens = 200;  // of each
  absl::Duration deadline = absl::Seconds(60);  // of each
};

// Thread-safe.
class GenerationTraffic final : public gateway::RouterEvents {
 public:
  // Begins at once.
  explicit GenerationTraffic(const TrafficConfig& config);
  ~GenerationTraffic() override;

  // Waits until every request has so many tokens, or one failed; connects again whenever the stream
  // is down. False: `deadline` passed.
  bool AwaitTokens(size_t count);
  // Waits likewise until all have ended. The first failure:
  // an error of a request, or a token that is lost or comes twice.
  absl::Status AwaitEnd();

  std::vector<std::vector<TokenId>> tokens() const;  // [requests]
  // Longest time between two tokens of a request.
  absl::Duration longest_gap() const;

 private:
  struct Request {
    wire::GenerationParams params;
    std::vector<TokenId> tokens;
    absl::Duration heard_at;  // of its last tokens; zero: none yet
    bool sent = false;
    bool finished = false;
  };
  void OnEvent(wire::TokenEvent event) override;
  void OnReport(const gateway::RouterReport& report) override;
  void OnDown(absl::Status status) override;

  const TrafficConfig config_;
  const RealClock clock_;
  mutable absl::Mutex mutex_;
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  absl::Duration gap_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<gateway::RouterClient> client_;  // ends first
};

}  // namespace tessera::testing
