#pragma once

// The gateway's config as its rooms take it. The schema is protos/tessera/config/v1/gateway.proto.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/tracing/tracer.h"
#include "services/gateway/batching/admission.h"
#include "services/gateway/http/http_server.h"
#include "services/gateway/rest/rest_api.h"
#include "services/gateway/session/generation_session.h"
#include "services/gateway/text/text_model.h"
#include "services/gateway/upstream/router_pool.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace tessera::gateway {

struct GatewayConfig {
  TextModelConfig text;
  RouterPoolConfig pool;  // eos_tokens come from the model
  HttpServerConfig http;
  AdmissionConfig admission;
  SessionConfig session;  // tools and reasoning: of the two names below
  RestConfig rest;
  std::string tool_parser = "auto";
  std::string reasoning_parser = "auto";
  std::string grpc_listen = "127.0.0.1:8001";
  std::string grpc_advertise;
  std::string admin_listen = "127.0.0.1:8002";
  TlsFiles tls;  // of gRPC, both ways
  std::string keys_file;
  size_t text_threads = 1;
  absl::Duration drain = absl::Seconds(30);
  TracerConfig tracing{.resource = {.service = "tessera-gateway"}};

  // kInvalidArgument naming the field, its value and what it may be.
  absl::Status Validate() const;
};

// A message of the schema with every default set.
std::shared_ptr<google::protobuf::Message> GatewayDefaults();
// Errors as of Validate.
absl::StatusOr<GatewayConfig> ToGatewayConfig(const google::protobuf::Message& message);

}  // namespace tessera::gateway
