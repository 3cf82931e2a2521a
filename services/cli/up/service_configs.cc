#include "services/cli/up/service_configs.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/json_string.h"
#include "common/base/status.h"
#include "common/device/cpu_features.h"
#include "common/kernels/compute.h"
#include "common/kernels/compute_level.h"
#include "common/kernels/weight_choice.h"
#include "services/router/assembly/router_model.h"

namespace tessera::cli {
namespace {

// {"a":..., "b":...} with a line for each field.
class Fields {
 public:
  Fields& Text(const char* key, const std::string& value) { return Raw(key, JsonQuoted(value)); }
  Fields& Number(const char* key, size_t value) { return Raw(key, absl::StrCat(value)); }
  Fields& Flag(const char* key, bool value) { return Raw(key, value ? "true" : "false"); }
  Fields& Raw(const char* key, const std::string& json) {
    absl::StrAppend(&text_, text_.empty() ? "{" : ",", "\n  ", JsonQuoted(key), ": ", json);
    return *this;
  }
  std::string Done() const { return text_ + "\n}\n"; }

 private:
  std::string text_;
};

std::string List(const std::vector<std::string>& values) {
  return absl::StrCat("[",
                      absl::StrJoin(values, ", ",
                                    [](std::string* out, const std::string& value) {
                                      absl::StrAppend(out, JsonQuoted(value));
                                    }),
                      "]");
}

std::string Compute(const ClusterSettings& cluster, size_t threads, const char* dtype_key,
                    const std::string& dtype) {
  return absl::StrCat("{\"threads\": ", threads, ", \"isa\": ", JsonQuoted(cluster.isa),
                      ", \"precision\": ", JsonQuoted(cluster.precision),
                      ", \"weights\": ", JsonQuoted(cluster.weights), ", ", JsonQuoted(dtype_key),
                      ": ", JsonQuoted(dtype), "}");
}

std::string DataListen(const std::string& transport, size_t shard_id) {
  if (transport == "grpc" || transport == "shm") return transport + ":";
  if (transport == "loopback") return absl::StrCat("loopback:expert-", shard_id);
  return "ucx:127.0.0.1:0";
}

}  // namespace

absl::Status CheckSettings(const ClusterSettings& settings) {
  const auto check = [](const char* flag, const absl::Status& status) {
    return status.ok() ? status : Annotate(status, flag);
  };
  if (settings.transport != "shm" && settings.transport != "ucx" && settings.transport != "grpc") {
    return absl::InvalidArgumentError(
        absl::StrCat("--transport: '", settings.transport, "' is unknown; use shm, ucx or grpc"));
  }
  TESSERA_RETURN_IF_ERROR(
      check("--precision", kernels::ParseArithmetic(settings.precision).status()));
  TESSERA_RETURN_IF_ERROR(
      check("--isa", kernels::ChooseIsa(settings.isa, DetectCpuFeatures()).status()));
  TESSERA_RETURN_IF_ERROR(
      check("--expert_dtype", kernels::ParseWeightChoice(settings.expert_dtype).status()));
  TESSERA_RETURN_IF_ERROR(
      check("--dense_dtype", kernels::ParseWeightChoice(settings.dense_dtype).status()));
  return check("--weights", router::ParseMapped(settings.weights).status());
}

std::string RouterConfigText(const ClusterSettings& cluster, const RouterSettings& router) {
  Fields fields;
  fields.Text("model", cluster.model)
      .Text("grpc_listen", router.grpc_listen)
      .Text("admin_listen", router.admin_listen)
      .Text("endpoints_file", router.endpoints_file)
      .Text("cluster_secret_file", cluster.secret_file)
      .Raw("compute", Compute(cluster, router.threads, "dense_dtype", cluster.dense_dtype))
      .Flag("strict", cluster.strict)
      .Flag("expert_metrics", true)
      .Raw("membership", absl::StrCat("{\"transport\": ", JsonQuoted(cluster.transport),
                                      ", \"copies_wanted\": ", router.replicas, "}"))
      .Text("record_routing", router.record_routing)
      .Raw("drain_seconds", "1");  // of the 5 s in which `tessera up` has to end
  return fields.Done();
}

std::string ShardConfigText(const ClusterSettings& cluster, const ShardSettings& shard) {
  Fields fields;
  fields.Text("model", cluster.model)
      .Number("shard_id", shard.shard_id)
      .Number("shard_count", shard.shard_count)
      .Number("replicas", shard.replicas)
      .Raw("slots_spare", absl::StrCat(shard.slots_spare))
      .Text("grpc_listen", "127.0.0.1:0")
      .Text("admin_listen", "127.0.0.1:0")
      .Text("data_listen", DataListen(cluster.transport, shard.shard_id))
      .Text("endpoints_file", shard.endpoints_file)
      .Text("cluster_secret_file", cluster.secret_file)
      .Raw("router_addresses", List(shard.router_addresses))
      .Raw("compute", Compute(cluster, shard.threads, "expert_dtype", cluster.expert_dtype))
      .Raw("drain_seconds", "1");
  return fields.Done();
}

std::string GatewayConfigText(const ClusterSettings& cluster, const GatewaySettings& gateway) {
  Fields fields;
  fields.Text("model", cluster.model)
      .Text("http_listen", gateway.http_listen)
      .Text("grpc_listen", gateway.grpc_listen)
      .Text("admin_listen", gateway.admin_listen)
      .Text("endpoints_file", gateway.endpoints_file)
      .Raw("router_addresses", List(gateway.router_addresses))
      .Raw("drain_seconds", "1");
  return fields.Done();
}

}  // namespace tessera::cli
