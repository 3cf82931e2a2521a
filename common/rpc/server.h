#pragma once

// The life of a gRPC server: start, health, drain, stop.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/tls_files.h"

namespace grpc {
class Server;
class ServerCredentials;
class Service;
}  // namespace grpc

namespace tessera {

class HealthService;

struct RpcServerConfig {
  std::string listen = "127.0.0.1:0";  // host:port or [v6]:port; port 0: any free one
  size_t message_bytes_max = size_t{64} << 20;
  // Stop waits so long for calls under way, then cancels them.
  absl::Duration stop_timeout = absl::Seconds(5);
  TlsFiles tls;  // empty: plain text; read again when they change, see server_tls.h
};

// A service and the name clients and the health service know it by: T::service_full_name().
struct NamedService {
  std::string name;
  grpc::Service* service = nullptr;  // borrowed; outlives the server
};

// Serves with grpc.health.v1 and reflection besides what it is given. Thread-safe.
class RpcServer {
 public:
  // Every service is NOT_SERVING until SetServing.
  //   kUnavailable  the address cannot be had (in use, not of this box)
  //   kNotFound, kInvalidArgument  of the TLS files
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const RpcServerConfig& config,
                                                          std::vector<NamedService> services);
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  int port() const { return port_; }
  // The listen address with the real port.
  std::string address() const;

  // Health of all services given to Start, and of "" (the whole server).
  void SetServing(bool serving);
  // Health says NOT_SERVING from now on; calls go on to be served.
  void Drain();
  // Drain, refuse new calls, let those under way finish within stop_timeout, cancel the rest. Calls
  // must heed cancellation. A second Stop does nothing.
  void Stop();

 private:
  explicit RpcServer(const RpcServerConfig& config);

  const RpcServerConfig config_;  // constant after Start
  std::vector<std::string> names_;
  std::unique_ptr<HealthService> health_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // asked by the server while it runs
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace tessera
