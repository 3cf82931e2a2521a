#include "services/gateway/gateway_config.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/in_range.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "services/gateway/session/metric_names.h"
#include "tessera/config/v1/gateway.pb.h"

namespace tessera::gateway {
namespace {

absl::Status IsLongEnough(const char* field, absl::Duration value) {
  return InRange(field, absl::ToDoubleSeconds(value), 0.001, 86400);
}

absl::StatusOr<ReasoningField> ReasoningFieldFromName(const std::string& name) {
  if (name == "deepseek") return ReasoningField::kDeepseek;
  if (name == "openrouter") return ReasoningField::kOpenrouter;
  if (name == "both") return ReasoningField::kBoth;
  if (name == "none") return ReasoningField::kNone;
  return absl::InvalidArgumentError(absl::StrCat("text.reasoning_field is '", name,
                                                 "', expected deepseek, openrouter, both or none"));
}

// The last part of the folder's path: "/models/trinity-nano/" is "trinity-nano".
std::string NameOfFolder(const std::string& folder) {
  std::filesystem::path path = std::filesystem::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

void SetHttpDefaults(const HttpServerConfig& defaults, config::v1::Http& http) {
  http.set_threads(static_cast<uint32_t>(defaults.thread_count));
  http.set_connections_max(static_cast<uint32_t>(defaults.connections_max));
  http.set_header_bytes_max(static_cast<uint32_t>(defaults.header_bytes_max));
  http.set_body_bytes_max(static_cast<uint32_t>(defaults.body_bytes_max));
  http.set_body_bytes_total_max(defaults.body_bytes_total_max);
  http.set_output_bytes_max(static_cast<uint32_t>(defaults.output_bytes_max));
  http.set_header_timeout(absl::ToDoubleSeconds(defaults.header_timeout));
  http.set_body_timeout(absl::ToDoubleSeconds(defaults.body_timeout));
  http.set_idle_timeout(absl::ToDoubleSeconds(defaults.idle_timeout));
  http.set_write_timeout(absl::ToDoubleSeconds(defaults.write_timeout));
  http.set_certificate_file("");
  http.set_key_file("");
}

HttpServerConfig HttpOf(const config::v1::Gateway& m) {
  const config::v1::Http& http = m.http();
  HttpServerConfig config;
  config.listen = m.http_listen();
  config.thread_count = http.threads();
  config.connections_max = http.connections_max();
  config.header_bytes_max = http.header_bytes_max();
  config.body_bytes_max = http.body_bytes_max();
  config.body_bytes_total_max = http.body_bytes_total_max();
  config.output_bytes_max = http.output_bytes_max();
  config.header_timeout = absl::Seconds(http.header_timeout());
  config.body_timeout = absl::Seconds(http.body_timeout());
  config.idle_timeout = absl::Seconds(http.idle_timeout());
  config.write_timeout = absl::Seconds(http.write_timeout());
  config.cors.origins = {http.cors_origins().begin(), http.cors_origins().end()};
  config.certificate_file = http.certificate_file();
  config.key_file = http.key_file();
  return config;
}

absl::Status CheckHttp(const HttpServerConfig& http) {
  TESSERA_RETURN_IF_ERROR(InRange("http.threads", static_cast<double>(http.thread_count), 1, 256));
  TESSERA_RETURN_IF_ERROR(
      InRange("http.connections_max", static_cast<double>(http.connections_max), 1, 1 << 20));
  TESSERA_RETURN_IF_ERROR(
      InRange("http.header_bytes_max", static_cast<double>(http.header_bytes_max), 1024, 1 << 20));
  TESSERA_RETURN_IF_ERROR(
      InRange("http.body_bytes_max", static_cast<double>(http.body_bytes_max), 1024, 1 << 30));
  TESSERA_RETURN_IF_ERROR(InRange("http.output_bytes_max",
                                  static_cast<double>(http.output_bytes_max), 1 << 16, 1 << 30));
  TESSERA_RETURN_IF_ERROR(IsLongEnough("http.header_timeout", http.header_timeout));
  TESSERA_RETURN_IF_ERROR(IsLongEnough("http.body_timeout", http.body_timeout));
  TESSERA_RETURN_IF_ERROR(IsLongEnough("http.idle_timeout", http.idle_timeout));
  TESSERA_RETURN_IF_ERROR(IsLongEnough("http.write_timeout", http.write_timeout));
  if (http.certificate_file.empty() != http.key_file.empty()) {
    return absl::InvalidArgumentError(
        "http.certificate_file and http.key_file are given together or not at all");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status GatewayConfig::Validate() const {
  if (text.folder.empty()) {
    return absl::InvalidArgumentError("model is empty, expected the folder of a model");
  }
  if (pool.addresses.empty()) {
    return absl::InvalidArgumentError(
        "router_addresses is empty, expected the host:port of at least one router");
  }
  TESSERA_RETURN_IF_ERROR(CheckHttp(http));
  TESSERA_RETURN_IF_ERROR(InRange("limits.choices_max", rest.limits.n_max, 1, 65536));
  TESSERA_RETURN_IF_ERROR(InRange("limits.sequences_max", rest.limits.sequences_max, 1, 65536));
  TESSERA_RETURN_IF_ERROR(InRange("limits.stops_max", rest.limits.stops_max, 1, 1024));
  TESSERA_RETURN_IF_ERROR(InRange("limits.logprobs_max", rest.limits.logprobs_max, 0, 1024));
  TESSERA_RETURN_IF_ERROR(
      InRange("limits.text_threads", static_cast<double>(text_threads), 1, 256));
  TESSERA_RETURN_IF_ERROR(IsLongEnough("limits.request_timeout", session.request_timeout));
  TESSERA_RETURN_IF_ERROR(
      InRange("queue.requests_max", static_cast<double>(admission.requests_max), 1, 1 << 20));
  TESSERA_RETURN_IF_ERROR(InRange("queue.key_requests_max",
                                  static_cast<double>(admission.key_requests_max), 1, 1 << 20));
  TESSERA_RETURN_IF_ERROR(IsLongEnough("queue.wait_max", admission.wait_max));
  TESSERA_RETURN_IF_ERROR(
      InRange("queue.reply_tokens_expected", session.reply_tokens_expected, 1, 1 << 24));
  TESSERA_RETURN_IF_ERROR(IsLongEnough("queue.resume_timeout", pool.resume_timeout));
  if (tool_parser != "auto") {
    TESSERA_RETURN_IF_ERROR(Annotate(ToolFormatFromName(tool_parser).status(), "text.tool_parser"));
  }
  if (reasoning_parser != "auto") {
    TESSERA_RETURN_IF_ERROR(
        Annotate(ReasoningRuleFromName(reasoning_parser).status(), "text.reasoning_parser"));
  }
  TESSERA_RETURN_IF_ERROR(tracing.Validate());
  return InRange("drain_seconds", absl::ToDoubleSeconds(drain), 0, 3600);
}

std::shared_ptr<google::protobuf::Message> GatewayDefaults() {
  const GatewayConfig defaults;
  auto message = std::make_shared<config::v1::Gateway>();
  message->set_model("");
  message->set_http_listen("127.0.0.1:8000");
  message->set_grpc_listen(defaults.grpc_listen);
  message->set_grpc_advertise("");
  message->set_admin_listen(defaults.admin_listen);
  message->set_endpoints_file("");
  message->set_keys_file("");
  message->set_metrics_compat("none");
  message->set_drain_seconds(absl::ToDoubleSeconds(defaults.drain));
  message->set_log_requests(defaults.session.log_requests);
  message->set_otlp_endpoint(defaults.tracing.endpoint);
  message->set_otlp_sample_ratio(defaults.tracing.sample_ratio);
  SetHttpDefaults(defaults.http, *message->mutable_http());
  config::v1::Limits& limits = *message->mutable_limits();
  limits.set_choices_max(defaults.rest.limits.n_max);
  limits.set_sequences_max(defaults.rest.limits.sequences_max);
  limits.set_stops_max(defaults.rest.limits.stops_max);
  limits.set_logprobs_max(defaults.rest.limits.logprobs_max);
  limits.set_context_max(0);
  limits.set_request_timeout(absl::ToDoubleSeconds(defaults.session.request_timeout));
  limits.set_text_threads(static_cast<uint32_t>(defaults.text_threads));
  config::v1::Queue& queue = *message->mutable_queue();
  queue.set_requests_max(static_cast<uint32_t>(defaults.admission.requests_max));
  queue.set_key_requests_max(static_cast<uint32_t>(defaults.admission.key_requests_max));
  queue.set_tokens_max(defaults.admission.tokens_max);
  queue.set_wait_max(absl::ToDoubleSeconds(defaults.admission.wait_max));
  queue.set_reply_tokens_expected(defaults.session.reply_tokens_expected);
  queue.set_resume_timeout(absl::ToDoubleSeconds(defaults.pool.resume_timeout));
  config::v1::Text& text = *message->mutable_text();
  text.set_chat_template_file("");
  text.set_tool_parser(defaults.tool_parser);
  text.set_reasoning_parser(defaults.reasoning_parser);
  text.set_reasoning_field("deepseek");
  text.set_generation_defaults(true);
  return message;
}

absl::StatusOr<GatewayConfig> ToGatewayConfig(const google::protobuf::Message& message) {
  const auto* m = dynamic_cast<const config::v1::Gateway*>(&message);
  TESSERA_CHECK(m != nullptr);
  GatewayConfig config;
  config.text = {.folder = m->model(),
                 .chat_template_file = m->text().chat_template_file(),
                 .context_max = m->limits().context_max(),
                 .use_generation_defaults = m->text().generation_defaults()};
  config.tls = {m->tls().certificate_file(), m->tls().key_file(), m->tls().ca_file()};
  config.pool.addresses = {m->router_addresses().begin(), m->router_addresses().end()};
  config.pool.tls = config.tls;
  config.pool.resume_timeout = absl::Seconds(m->queue().resume_timeout());
  config.http = HttpOf(*m);
  config.admission = {.requests_max = m->queue().requests_max(),
                      .key_requests_max = m->queue().key_requests_max(),
                      .tokens_max = m->queue().tokens_max(),
                      .wait_max = absl::Seconds(m->queue().wait_max())};
  config.session.request_timeout = absl::Seconds(m->limits().request_timeout());
  config.session.reply_tokens_expected = m->queue().reply_tokens_expected();
  config.session.log_requests = m->log_requests();
  config.rest.model_names = {m->served_model_name().begin(), m->served_model_name().end()};
  if (config.rest.model_names.empty()) config.rest.model_names = {NameOfFolder(m->model())};
  config.rest.version = std::string(Version());
  config.rest.system_fingerprint = absl::StrCat("tessera-", config.rest.version);
  TESSERA_ASSIGN_OR_RETURN(config.rest.reasoning_field,
                           ReasoningFieldFromName(m->text().reasoning_field()));
  TESSERA_ASSIGN_OR_RETURN(config.rest.metric_aliases, AliasesFor(m->metrics_compat()));
  config.rest.limits.json.bytes_max = m->http().body_bytes_max();
  config.rest.limits.n_max = m->limits().choices_max();
  config.rest.limits.sequences_max = m->limits().sequences_max();
  config.rest.limits.stops_max = m->limits().stops_max();
  config.rest.limits.logprobs_max = m->limits().logprobs_max();
  config.tool_parser = m->text().tool_parser();
  config.reasoning_parser = m->text().reasoning_parser();
  config.grpc_listen = m->grpc_listen();
  config.grpc_advertise = m->grpc_advertise();
  config.admin_listen = m->admin_listen();
  config.keys_file = m->keys_file();
  config.text_threads = m->limits().text_threads();
  config.drain = absl::Seconds(m->drain_seconds());
  config.tracing.endpoint = m->otlp_endpoint();
  config.tracing.sample_ratio = m->otlp_sample_ratio();
  TESSERA_RETURN_IF_ERROR(config.Validate());
  return config;
}

}  // namespace tessera::gateway
