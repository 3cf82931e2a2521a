#pragma once

// tessera.v1.Generation as a gRPC service: checks messages, hands requests to the engine loop,
// writes what their streams give. No thread of gRPC ever waits here.

#include <memory>

#include "common/base/clock.h"
#include "common/rpc/server.h"
#include "services/router/loop/engine_loop.h"
#include "services/router/loop/load_board.h"

namespace tessera::router {

// Thread-safe. The server is stopped before this object dies.
class GenerationService {
 public:
  // All borrowed.
  GenerationService(EngineLoop& loop, LoadBoard& board, const Clock& clock);
  ~GenerationService();

  NamedService named();
  // Ends streams of gateways as soon as their requests have ended, and refuses new ones
  // (UNAVAILABLE), so that a server can stop without waiting for them.
  void EndStreams();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::router
