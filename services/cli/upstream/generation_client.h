#pragma once

// Asks a router for tokens, as `tessera generate` does.

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/rpc/tls_files.h"
#include "common/wire/generation_wire.h"

namespace tessera::cli {

// Thread-compatible.
class GenerationClient {
 public:
  // Where the router is now, "host:port"; asked before every attempt. kUnavailable: nowhere yet.
  using Whereabouts = std::function<absl::StatusOr<std::string>()>;

  // `clock` must outlive it.
  GenerationClient(Whereabouts whereabouts, TlsFiles tls, const Clock& clock);

  // Runs one request until its Finished event, which is returned; tokens go to `on_tokens` as they
  // come. A router that goes away is looked for again, and the request goes on where it was.
  //   kDeadlineExceeded  `timeout` passed
  //   kUnavailable       no router took it to its end
  //   else               the router's error
  absl::StatusOr<wire::FinishedEvent> Run(
      wire::GenerationParams params, absl::Duration timeout,
      const std::function<void(const wire::TokensEvent&)>& on_tokens);

 private:
  // One life of the request on one router; produced tokens are added to `params`.
  absl::Status RunOnce(const std::string& address, absl::Duration time_left,
                       wire::GenerationParams& params, wire::FinishedEvent& finished,
                       const std::function<void(const wire::TokensEvent&)>& on_tokens) const;

  const Whereabouts whereabouts_;
  const TlsFiles tls_;
  const Clock& clock_;
};

}  // namespace tessera::cli
