#pragma once

// The whole gateway: builds the rooms and hands them to each other.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/rpc/run_main.h"
#include "services/gateway/gateway_config.h"

namespace tessera::gateway {

class GatewayServer final : public Service {
 public:
  // Loads tokenizer and template, listens, and connects to the routers in the background. Errors
  // are those of the rooms. `clock` is borrowed.
  static absl::StatusOr<std::unique_ptr<GatewayServer>> Start(const GatewayConfig& config,
                                                              const Clock& clock);
  ~GatewayServer() override;

  // "http", and "grpc" and "admin" if they are configured.
  std::vector<std::pair<std::string, std::string>> Endpoints() const override;
  // Lets running requests finish within config.drain; what is not over then is told that the server
  // drains. Until the last one has ended new ones, on new connections too, are answered 503 and
  // UNAVAILABLE, code "draining", and gRPC's health says NOT_SERVING. Nothing running: stops at
  // once.
  void Stop() override;

  int http_port() const;
  std::string admin_address() const;  // empty: none
  // Why no work is taken; empty: it is.
  std::vector<std::string> ReadinessReasons() const;

 private:
  class House;
  explicit GatewayServer(std::unique_ptr<House> house);
  const std::unique_ptr<House> house_;
};

// What main runs.
ServiceProgram BuildGateway();

}  // namespace tessera::gateway
