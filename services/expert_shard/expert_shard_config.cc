#include "services/expert_shard/expert_shard_config.h"

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/kernels/compute_level.h"
#include "common/kernels/weight_choice.h"
#include "common/moe/placement.h"
#include "common/transport/data_address.h"
#include "common/wire/hello_wire.h"
#include "tessera/config/v1/expert_shard.pb.h"

namespace tessera::expert_shard {
namespace {

absl::Status InRange(const char* field, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, ", expected ", min, "..", max));
}

absl::Status CheckCompute(const ComputeConfig& compute) {
  TESSERA_RETURN_IF_ERROR(InRange("compute.threads", compute.threads, 0, 4096));
  TESSERA_RETURN_IF_ERROR(
      Annotate(kernels::ParseArithmetic(compute.precision).status(), "compute.precision"));
  TESSERA_ASSIGN_OR_RETURN(const kernels::WeightChoice dtype,
                           kernels::ParseWeightChoice(compute.expert_dtype));
  if (compute.weights != "packed" && compute.weights != "mapped") {
    return absl::InvalidArgumentError(
        absl::StrCat("compute.weights is '", compute.weights, "', expected packed or mapped"));
  }
  if (compute.weights == "mapped" && dtype != kernels::WeightChoice::kAuto) {
    return absl::InvalidArgumentError(
        absl::StrCat("compute.expert_dtype is '", compute.expert_dtype,
                     "', expected auto: mapped weights are used as stored"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ExpertShardConfig::Validate() const {
  if (model.empty()) {
    return absl::InvalidArgumentError("model is empty, expected the folder of a checkpoint");
  }
  TESSERA_RETURN_IF_ERROR(InRange("shard_id", slice.shard_id, 0, Placement::kShardIdMax));
  const uint32_t drawn = draw_shard_id ? kDrawnIds : 0;
  TESSERA_RETURN_IF_ERROR(
      InRange("shard_count", slice.shard_count, 1, Placement::kShardIdMax + 1 - drawn));
  TESSERA_RETURN_IF_ERROR(InRange("replicas", slice.replicas, 1, slice.shard_count));
  TESSERA_RETURN_IF_ERROR(InRange("slots_spare", slots_spare, -1, 1 << 24));
  TESSERA_RETURN_IF_ERROR(InRange("credits_max", credits_max, 1, wire::kCreditsMax));
  TESSERA_RETURN_IF_ERROR(InRange("rows_max", rows_max, 1, 65536));
  TESSERA_RETURN_IF_ERROR(InRange("routers_max", routers_max, 1, 65536));
  if (drain_max < absl::ZeroDuration() || drain_max > absl::Hours(1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("drain_seconds is ", absl::ToDoubleSeconds(drain_max), ", expected 0..3600"));
  }
  TESSERA_RETURN_IF_ERROR(Annotate(ParseDataAddress(data_listen).status(), "data_listen"));
  if (!data_advertise.empty()) {
    TESSERA_RETURN_IF_ERROR(Annotate(ParseDataAddress(data_advertise).status(), "data_advertise"));
  }
  TESSERA_RETURN_IF_ERROR(tracing.Validate());
  return CheckCompute(compute);
}

ExpertShardConfig WithDrawnId(ExpertShardConfig config, uint64_t random) {
  if (config.draw_shard_id) {
    config.slice.shard_id = config.slice.shard_count + static_cast<uint32_t>(random % kDrawnIds);
  }
  return config;
}

std::shared_ptr<google::protobuf::Message> ExpertShardDefaults() {
  const ExpertShardConfig defaults;
  auto message = std::make_shared<config::v1::ExpertShard>();
  message->set_model("");
  message->set_shard_id(defaults.slice.shard_id);
  message->set_shard_count(defaults.slice.shard_count);
  message->set_replicas(defaults.slice.replicas);
  message->set_draw_shard_id(defaults.draw_shard_id);
  message->set_slots_spare(defaults.slots_spare);
  message->set_grpc_listen(defaults.grpc_listen);
  message->set_grpc_advertise(defaults.grpc_advertise);
  message->set_admin_listen(defaults.admin_listen);
  message->set_data_listen(defaults.data_listen);
  message->set_data_advertise(defaults.data_advertise);
  message->set_endpoints_file("");
  message->set_cluster_secret_file(defaults.cluster_secret_file);
  config::v1::Compute& compute = *message->mutable_compute();
  compute.set_threads(defaults.compute.threads);
  compute.set_isa(defaults.compute.isa);
  compute.set_precision(defaults.compute.precision);
  compute.set_expert_dtype(defaults.compute.expert_dtype);
  compute.set_weights(defaults.compute.weights);
  message->set_credits_max(defaults.credits_max);
  message->set_rows_max(defaults.rows_max);
  message->set_routers_max(defaults.routers_max);
  message->set_zone(defaults.zone);
  message->set_drain_seconds(absl::ToDoubleSeconds(defaults.drain_max));
  config::v1::Ucx& ucx = *message->mutable_ucx();
  ucx.set_transports(defaults.ucx.transports);
  ucx.set_net_devices(defaults.ucx.net_devices);
  ucx.set_ipv6(defaults.ucx.ipv6);
  message->set_otlp_endpoint(defaults.tracing.endpoint);
  return message;
}

absl::StatusOr<ExpertShardConfig> ToExpertShardConfig(const google::protobuf::Message& message) {
  const auto* m = dynamic_cast<const config::v1::ExpertShard*>(&message);
  TESSERA_CHECK(m != nullptr);
  ExpertShardConfig config;
  config.model = m->model();
  config.slice = {m->shard_id(), m->shard_count(), m->replicas()};
  config.draw_shard_id = m->draw_shard_id();
  config.slots_spare = m->slots_spare();
  config.grpc_listen = m->grpc_listen();
  config.grpc_advertise = m->grpc_advertise();
  config.admin_listen = m->admin_listen();
  config.data_listen = m->data_listen();
  config.data_advertise = m->data_advertise();
  config.cluster_secret_file = m->cluster_secret_file();
  config.tls = {m->tls().certificate_file(), m->tls().key_file(), m->tls().ca_file()};
  config.router_addresses = {m->router_addresses().begin(), m->router_addresses().end()};
  config.compute = {m->compute().threads(), m->compute().isa(), m->compute().precision(),
                    m->compute().expert_dtype(), m->compute().weights()};
  config.credits_max = m->credits_max();
  config.rows_max = m->rows_max();
  config.routers_max = m->routers_max();
  config.zone = m->zone();
  config.drain_max = absl::Seconds(m->drain_seconds());
  config.ucx = {m->ucx().transports(), m->ucx().net_devices(), m->ucx().ipv6()};
  config.tracing.endpoint = m->otlp_endpoint();
  TESSERA_RETURN_IF_ERROR(config.Validate());
  return config;
}

}  // namespace tessera::expert_shard
