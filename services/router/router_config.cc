#include "services/router/router_config.h"

#include "absl/strings/str_cat.h"
#include "common/base/in_range.h"
#include "common/base/status.h"
#include "common/transport/data_address.h"
#include "tessera/config/v1/router.pb.h"

namespace tessera::router {
namespace {

absl::Status CheckBalance(const config::v1::Balance& from) {
  TESSERA_RETURN_IF_ERROR(InRange("balance.interval_seconds", from.interval_seconds(), 0.1, 86400));
  TESSERA_RETURN_IF_ERROR(InRange("balance.threshold", from.threshold(), 0, 1));
  TESSERA_RETURN_IF_ERROR(InRange("balance.target", from.target(), 0, 1));
  TESSERA_RETURN_IF_ERROR(InRange("balance.gain_min", from.gain_min(), 0, 1000));
  TESSERA_RETURN_IF_ERROR(InRange("balance.window_steps", from.window_steps(), 1, 1e9));
  TESSERA_RETURN_IF_ERROR(InRange("balance.steps_min", from.steps_min(), 0, 1e9));
  if (from.steps_min() > from.window_steps()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "balance.steps_min is ", from.steps_min(), ", expected at most balance.window_steps, ",
        from.window_steps(), ": no more is ever remembered, so nothing would be moved"));
  }
  TESSERA_RETURN_IF_ERROR(InRange("balance.slots_kept_free", from.slots_kept_free(), 0, 1));
  return InRange("balance.shards_max", from.shards_max(), 1, 1024);
}

absl::Status CheckRanges(const config::v1::Router& from) {
  constexpr double kRowsMax = 65536;
  constexpr double kSecondsMax = 86400;
  const config::v1::Membership& membership = from.membership();
  const config::v1::Dispatch& dispatch = from.dispatch();
  TESSERA_RETURN_IF_ERROR(InRange("compute.threads", from.compute().threads(), 0, 4096));
  TESSERA_RETURN_IF_ERROR(InRange("sequences_max", from.sequences_max(), 1, kRowsMax));
  TESSERA_RETURN_IF_ERROR(InRange("waiting_max", from.waiting_max(), 1, 1e6));
  TESSERA_RETURN_IF_ERROR(InRange("batch_tokens_max", from.batch_tokens_max(), 1, kRowsMax));
  TESSERA_RETURN_IF_ERROR(InRange("prefill_chunk_max", from.prefill_chunk_max(), 1, kRowsMax));
  TESSERA_RETURN_IF_ERROR(
      InRange("logits_rows_max", from.logits_rows_max(), from.sequences_max(), kRowsMax));
  TESSERA_RETURN_IF_ERROR(InRange("drain_seconds", from.drain_seconds(), 0, kSecondsMax));
  TESSERA_RETURN_IF_ERROR(
      InRange("experts_wait_max_seconds", from.experts_wait_max_seconds(), 0, kSecondsMax));
  TESSERA_RETURN_IF_ERROR(
      InRange("dispatch.homeless_wait_seconds", dispatch.homeless_wait_seconds(), 0, kSecondsMax));
  TESSERA_RETURN_IF_ERROR(
      InRange("dispatch.call_timeout_seconds", dispatch.call_timeout_seconds(), 1e-3, kSecondsMax));
  TESSERA_RETURN_IF_ERROR(
      InRange("membership.heartbeat_seconds", membership.heartbeat_seconds(), 0.01, 60));
  TESSERA_RETURN_IF_ERROR(InRange("membership.credits", membership.credits(), 1, 1024));
  TESSERA_RETURN_IF_ERROR(InRange("membership.rows_max", membership.rows_max(), 1, kRowsMax));
  TESSERA_RETURN_IF_ERROR(InRange("membership.copies_wanted", membership.copies_wanted(), 1, 1024));
  TESSERA_RETURN_IF_ERROR(CheckBalance(from.balance()));
  if (!(membership.silence_max_seconds() > membership.heartbeat_seconds())) {
    return absl::InvalidArgumentError(
        absl::StrCat("membership.silence_max_seconds is ", membership.silence_max_seconds(),
                     ", expected more than heartbeat_seconds, ", membership.heartbeat_seconds()));
  }
  return absl::OkStatus();
}

ComputeConfig ToCompute(const config::v1::Compute& from) {
  return {.threads = from.threads(),
          .isa = from.isa(),
          .precision = from.precision(),
          .dense_dtype = from.dense_dtype(),
          .weights = from.weights()};
}

CapacityConfig ToCapacity(const config::v1::Router& from) {
  return {.context_max = from.context_max(),
          .sequences_max = from.sequences_max(),
          .waiting_max = from.waiting_max(),
          .batch_tokens_max = from.batch_tokens_max(),
          .prefill_chunk_max = from.prefill_chunk_max(),
          .logits_rows_max = from.logits_rows_max(),
          .kv_bytes = from.kv_bytes(),
          .prefix_cache = from.prefix_cache()};
}

BalancerConfig ToBalance(const config::v1::Balance& from) {
  return {.moves = from.enabled(),
          .interval = absl::Seconds(from.interval_seconds()),
          .threshold = from.threshold(),
          .target = from.target(),
          .gain_min = from.gain_min(),
          .window_steps = from.window_steps(),
          .steps_min = from.steps_min(),
          .loads_max = from.loads_max(),
          .slots_kept_free = from.slots_kept_free(),
          .shards_max = from.shards_max(),
          .bytes_per_second_max = from.bytes_per_second_max()};
}

void SetDefaults(config::v1::Balance& to) {
  const BalancerConfig balance;
  to.set_enabled(balance.moves);
  to.set_interval_seconds(absl::ToDoubleSeconds(balance.interval));
  to.set_threshold(balance.threshold);
  to.set_target(balance.target);
  to.set_gain_min(balance.gain_min);
  to.set_window_steps(balance.window_steps);
  to.set_steps_min(balance.steps_min);
  to.set_loads_max(balance.loads_max);
  to.set_slots_kept_free(balance.slots_kept_free);
  to.set_shards_max(balance.shards_max);
  to.set_bytes_per_second_max(balance.bytes_per_second_max);
}

DispatchConfig ToDispatch(const config::v1::Router& from) {
  const config::v1::Dispatch& dispatch = from.dispatch();
  DispatchConfig to;
  to.strict = from.strict();
  to.homeless_wait = absl::Seconds(dispatch.homeless_wait_seconds());
  to.exchange_timeout = absl::Seconds(dispatch.call_timeout_seconds());
  to.attempts_max = dispatch.attempts_max();
  to.hedge_share_max = dispatch.hedge_share_max();
  return to;
}

}  // namespace

std::shared_ptr<google::protobuf::Message> DefaultRouterMessage() {
  auto message = std::make_shared<config::v1::Router>();
  message->set_grpc_listen("127.0.0.1:8010");
  message->set_admin_listen("127.0.0.1:8012");
  config::v1::Compute& compute = *message->mutable_compute();
  compute.set_isa("auto");
  compute.set_precision("fast");
  compute.set_weights("packed");
  compute.set_dense_dtype("auto");
  const CapacityConfig capacity;
  message->set_prefix_cache(capacity.prefix_cache);
  message->set_sequences_max(static_cast<uint32_t>(capacity.sequences_max));
  message->set_waiting_max(static_cast<uint32_t>(capacity.waiting_max));
  message->set_batch_tokens_max(static_cast<uint32_t>(capacity.batch_tokens_max));
  message->set_prefill_chunk_max(static_cast<uint32_t>(capacity.prefill_chunk_max));
  message->set_logits_rows_max(static_cast<uint32_t>(capacity.logits_rows_max));
  message->set_drain_seconds(4);
  message->set_experts_wait_max_seconds(60);
  const DispatchConfig dispatch;
  message->mutable_dispatch()->set_homeless_wait_seconds(
      absl::ToDoubleSeconds(dispatch.homeless_wait));
  message->mutable_dispatch()->set_call_timeout_seconds(
      absl::ToDoubleSeconds(dispatch.exchange_timeout));
  message->mutable_dispatch()->set_attempts_max(dispatch.attempts_max);
  message->mutable_dispatch()->set_hedge_share_max(dispatch.hedge_share_max);
  message->mutable_dispatch()->set_idle_poll("auto");
  config::v1::Membership& membership = *message->mutable_membership();
  membership.set_heartbeat_seconds(0.25);
  membership.set_silence_max_seconds(1);
  membership.set_transport("ucx");
  membership.set_credits(4);
  membership.set_rows_max(512);
  membership.set_copies_wanted(1);
  message->set_expert_metrics(false);
  SetDefaults(*message->mutable_balance());
  message->set_record_routing_bytes_max(uint64_t{1} << 30);
  message->set_otlp_endpoint("");
  const UcxConfig ucx;
  message->mutable_ucx()->set_transports(ucx.transports);
  message->mutable_ucx()->set_net_devices(ucx.net_devices);
  message->mutable_ucx()->set_ipv6(ucx.ipv6);
  return message;
}

absl::StatusOr<RouterConfig> ToRouterConfig(const google::protobuf::Message& message) {
  const auto& from = dynamic_cast<const config::v1::Router&>(message);
  if (from.model().empty()) {
    return absl::InvalidArgumentError("model is empty, expected the folder of a checkpoint");
  }
  TESSERA_RETURN_IF_ERROR(CheckRanges(from));
  const config::v1::Membership& membership = from.membership();
  RouterConfig to;
  to.model = from.model();
  to.grpc_listen = from.grpc_listen();
  to.grpc_advertise = from.grpc_advertise();
  to.admin_listen = from.admin_listen();
  to.cluster_secret_file = from.cluster_secret_file();
  to.tls = {from.tls().certificate_file(), from.tls().key_file(), from.tls().ca_file()};
  to.leader = from.leader() == from.grpc_advertise() ? "" : from.leader();
  to.compute = ToCompute(from.compute());
  to.capacity = ToCapacity(from);
  to.dispatch = ToDispatch(from);
  TESSERA_ASSIGN_OR_RETURN(to.idle_poll, ParseIdlePolling(from.dispatch().idle_poll()));
  to.transport = membership.transport();
  if (!ParseDataAddress(to.transport + ":").ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("membership.transport is '", to.transport, "', expected ucx, shm or grpc"));
  }
  to.expert_metrics = from.expert_metrics();
  to.tracing.endpoint = from.otlp_endpoint();
  TESSERA_RETURN_IF_ERROR(to.tracing.Validate());
  to.ucx = {from.ucx().transports(), from.ucx().net_devices(), from.ucx().ipv6()};
  to.credits = membership.credits();
  to.rows_max = membership.rows_max();
  to.copies_wanted = membership.copies_wanted();
  to.balance = ToBalance(from.balance());
  to.record_routing = from.record_routing();
  to.record_routing_bytes_max = from.record_routing_bytes_max();
  to.heartbeat_interval = absl::Seconds(membership.heartbeat_seconds());
  to.silence_max = absl::Seconds(membership.silence_max_seconds());
  to.drain_max = absl::Seconds(from.drain_seconds());
  to.experts_wait_max = absl::Seconds(from.experts_wait_max_seconds());
  TESSERA_RETURN_IF_ERROR(Annotate(to.dispatch.Validate(), "dispatch"));
  return to;
}

}  // namespace tessera::router
