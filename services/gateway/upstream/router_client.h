#pragma once

// One router as a gateway sees it: a channel, and one stream on it that carries all requests.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/tls_files.h"
#include "common/wire/generation_wire.h"
#include "services/gateway/upstream/load_gathering.h"

namespace tessera::gateway {

// RouterLoad of protos/tessera/v1/generation.proto.
struct RouterReport {
  uint32_t tokens_free = 0;
  uint32_t sequences_running = 0;
  uint32_t sequences_waiting = 0;
  float kv_used_ratio = 0;
  bool draining = false;
  uint64_t epoch = 0;
  uint64_t preemptions_total = 0;
  std::vector<std::string> not_ready;
};

// What comes from a router. Called from gRPC's threads, one call at a time per client.
class RouterEvents {
 public:
  virtual ~RouterEvents() = default;
  virtual void OnEvent(wire::TokenEvent event) = 0;
  // The first one after Connect says that the router takes requests.
  virtual void OnReport(const RouterReport& report) = 0;
  // The stream ended, and with it every request on it. Last call until the next Connect.
  virtual void OnDown(absl::Status status) = 0;
};

struct RouterClientConfig {
  std::string address;  // host:port
  TlsFiles tls;
  size_t message_bytes_max = size_t{64} << 20;
  // A router that is gone without a word is noticed after the two together.
  absl::Duration ping_interval = absl::Seconds(5);
  absl::Duration ping_timeout = absl::Seconds(3);
};

// Thread-safe. Nothing blocks but the destructor.
class RouterClient {
 public:
  // `events` is borrowed. Errors are those of the TLS files.
  static absl::StatusOr<std::unique_ptr<RouterClient>> Open(const RouterClientConfig& config,
                                                            RouterEvents& events);
  // Ends the stream and all questions and waits until OnDown and whoever asked have returned; not
  // from a call of RouterEvents.
  ~RouterClient();

  // Opens the stream if there is none. That it cannot be opened is told by OnDown.
  void Connect();
  // Queues a request. False: there is no stream; OnDown was or will be called.
  bool Send(const wire::GenerationParams& params);
  // Asks for the load of its experts; `done` is called once, within `timeout`, from gRPC's threads.
  void AskExpertLoad(absl::Duration timeout, ExpertLoadDone done);
  // Asks the router to end a request; its Finished still comes if it had not ended.
  void Cancel(const std::string& request_id);

 private:
  class Stream;
  struct Question;
  struct State;
  explicit RouterClient(std::shared_ptr<State> state);
  const std::shared_ptr<State> state_;
};

}  // namespace tessera::gateway
