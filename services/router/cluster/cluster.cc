#include "services/router/cluster/cluster.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "services/router/cluster/cluster_brain.h"

namespace tessera::router {
namespace {

absl::Status Check(bool good, const char* field, const char* expected) {
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("cluster: ", field, ": expected ", expected));
}

absl::Status CheckConfig(const ClusterConfig& c) {
  TESSERA_RETURN_IF_ERROR(Check(c.incarnation > 0, "incarnation", "> 0"));
  TESSERA_RETURN_IF_ERROR(wire::ToModelHash(c.model.model_hash).status());
  TESSERA_RETURN_IF_ERROR(Check(c.model.expert_count > 0 && c.model.layer_count > 0 &&
                                    c.model.d_model > 0 && c.model.top_k > 0,
                                "model", "d_model, layer_count, expert_count and top_k > 0"));
  const auto in_model = [&c](LayerIndex l) { return ToIndex(l) < c.model.layer_count; };
  TESSERA_RETURN_IF_ERROR(Check(std::all_of(c.moe_layers.begin(), c.moe_layers.end(), in_model),
                                "moe_layers", "layers of the model"));
  TESSERA_RETURN_IF_ERROR(
      Check(c.credits >= 1 && c.credits <= wire::kCreditsMax, "credits", "1..1024"));
  TESSERA_RETURN_IF_ERROR(Check(c.rows_max >= 1 && c.rows_max <= 65536, "rows_max", "1..65536"));
  TESSERA_RETURN_IF_ERROR(
      Check(c.heartbeat_interval >= absl::Milliseconds(1) && c.lost_after > c.heartbeat_interval,
            "heartbeat_interval", "at least 1 ms and below lost_after"));
  const BalancerConfig& balance = c.balance;
  TESSERA_RETURN_IF_ERROR(Check(balance.interval > absl::ZeroDuration() &&
                                    balance.window_steps > 0 && balance.shards_max >= 1,
                                "balance", "interval, window_steps and shards_max > 0"));
  TESSERA_RETURN_IF_ERROR(Check(balance.steps_min <= balance.window_steps, "balance.steps_min",
                                "at most window_steps"));
  return Check(c.copies_wanted >= 1, "copies_wanted", ">= 1");
}

}  // namespace

class Cluster::Impl : public ClusterBrain {
 public:
  using ClusterBrain::ClusterBrain;
};

Cluster::Cluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cluster::~Cluster() { Stop(); }

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(ClusterConfig config,
                                                        ExchangeClient& exchange,
                                                        const Clock& clock, Registry& metrics) {
  TESSERA_RETURN_IF_ERROR(CheckConfig(config));
  auto impl = std::make_unique<Impl>(std::move(config), exchange, clock, metrics);
  impl->Start();
  return std::unique_ptr<Cluster>(new Cluster(std::move(impl)));
}

ShardDirectory& Cluster::directory() { return *impl_; }
std::vector<NamedService> Cluster::services() { return {impl_->named_service()}; }
absl::Status Cluster::Coverage() const { return impl_->Coverage(); }
absl::Status Cluster::WaitUntilCovered(absl::Duration timeout) const {
  return impl_->WaitUntilCovered(timeout);
}
bool Cluster::AwaitViewAfter(uint64_t version, absl::Duration timeout) const {
  return impl_->AwaitViewAfter(version, timeout);
}
std::vector<wire::ShardActivity> Cluster::ShardActivities() const {
  return impl_->ShardActivities();
}
void Cluster::RefreshMetrics() { impl_->RefreshMetrics(); }
ExpertMeter& Cluster::meter() { return impl_->meter(); }
std::string Cluster::BalanceReport() const { return impl_->BalanceReport(); }
absl::Status Cluster::FreezeBalance(bool frozen) { return impl_->FreezeBalance(frozen); }
absl::Status Cluster::TriggerBalance(bool moves) { return impl_->TriggerBalance(moves); }
void Cluster::Stop() { impl_->Stop(); }

}  // namespace tessera::router
