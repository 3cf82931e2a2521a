#pragma once

// The router, put together: model ─ cluster ─ dispatch ─ engine ─ services.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/rpc/run_main.h"
#include "common/transport/transport.h"
#include "services/router/router_config.h"

namespace tessera::router {

// What a process that holds several houses passes in.
struct RouterParts {
  // Towards the shards; null: made as config.transport says. A loopback has no other way in.
  std::unique_ptr<Transport> transport;
};

// Thread-safe.
class RouterServer final : public Service {
 public:
  // Loads the weights and listens; shards may then register. `clock` outlives it. Ready when every
  // expert is covered, see /readyz. Errors name what is wrong: config, checkpoint, memory, ports.
  static absl::StatusOr<std::unique_ptr<RouterServer>> Start(const RouterConfig& config,
                                                             const Clock& clock,
                                                             RouterParts parts = {});
  ~RouterServer() override;

  std::vector<std::pair<std::string, std::string>> Endpoints() const override;
  // Health NOT_SERVING, load "draining"; running requests may finish within drain_max, the others
  // end UNAVAILABLE.
  void Stop() override;

  std::string grpc_address() const;   // as others may use it
  std::string admin_address() const;  // empty: none
  // Why it is not ready; empty: it is.
  std::vector<std::string> NotReadyReasons() const;

 private:
  class House;
  explicit RouterServer(std::unique_ptr<House> house);
  std::unique_ptr<House> house_;
};

// For RunMain.
ServiceProgram BuildRouter();

}  // namespace tessera::router
