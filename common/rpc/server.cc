#include "common/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rpc/health_service.h"
#include "common/rpc/server_tls.h"

namespace tessera {
RpcServer::RpcServer(const RpcServerConfig& config)
    : config_(config), health_(std::make_unique<HealthService>()) {}

RpcServer::~RpcServer() { Stop(); }

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const RpcServerConfig& config,
                                                            std::vector<NamedService> services) {
  std::unique_ptr<RpcServer> server(new RpcServer(config));
  TESSERA_ASSIGN_OR_RETURN(server->credentials_, MakeServerCredentials(config.tls));
  // gRPC keeps the plugin for the whole process and ignores the second call.
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(config.listen, server->credentials_, &server->port_);
  builder.SetMaxReceiveMessageSize(static_cast<int>(config.message_bytes_max));
  builder.SetMaxSendMessageSize(static_cast<int>(config.message_bytes_max));
  // A port that somebody else has is an error here, not a share of his connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Clients of ours ping every ten seconds; do not take that for abuse.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder.RegisterService(server->health_.get());
  server->names_.push_back("");
  for (const NamedService& service : services) {
    builder.RegisterService(service.service);
    server->names_.push_back(service.name);
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || server->port_ == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve at ", config.listen, ": in use, or not an address of this box"));
  }
  server->SetServing(false);
  return server;
}

std::string RpcServer::address() const {
  return absl::StrCat(config_.listen.substr(0, config_.listen.rfind(':')), ":", port_);
}

void RpcServer::SetServing(bool serving) {
  for (const std::string& name : names_) health_->SetServing(name, serving);
}

void RpcServer::Drain() { health_->ShutDown(); }

void RpcServer::Stop() {
  if (server_ == nullptr) return;
  Drain();
  health_->EndWatches();
  const int64_t micros = absl::ToInt64Microseconds(config_.stop_timeout);
  server_->Shutdown(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(micros, GPR_TIMESPAN)));
  server_->Wait();
  server_.reset();
}

}  // namespace tessera
