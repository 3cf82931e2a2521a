#include "tests/support/test_cluster.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/check.h"
#include "common/base/entropy.h"
#include "common/base/status.h"
#include "common/kernels/compute_level.h"
#include "common/model/moe_layers.h"
#include "common/transport/data_address.h"
#include "common/weights/model_identity.h"
#include "tests/support/wait_until.h"

namespace tessera::testing {
namespace {

constexpr router::CapacityConfig kCapacity = {.context_max = 256, .sequences_max = 32};
constexpr absl::Duration kPatience = absl::Seconds(30);

// The series of `metric` whose labels contain `label`, summed.
double SumOf(const std::string& text, const std::string& metric, const std::string& label) {
  double sum = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const bool named = absl::StartsWith(line, absl::StrCat(metric, "{")) ||
                       absl::StartsWith(line, absl::StrCat(metric, " "));
    if (!named || !absl::StrContains(line, label)) continue;
    double value = 0;
    TESSERA_CHECK(absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value));
    sum += value;
  }
  return sum;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TestRouter>> TestRouter::Start(
    const std::string& model_dir, const TestRouterOptions& options, const Clock& clock,
    const std::shared_ptr<LoopbackNetwork>& network) {
  std::unique_ptr<TestRouter> router(new TestRouter(clock));
  router->dispatch_ = options.dispatch;
  TESSERA_ASSIGN_OR_RETURN(
      router->model_,
      router::RouterModel::Open(model_dir, {.threads = 1, .precision = options.precision}));
  TESSERA_ASSIGN_OR_RETURN(router->kv_,
                           PlanKv(router->model_->spec(), router->model_->kv_type(), kCapacity, 0));
  TESSERA_RETURN_IF_ERROR(router->model_->Load({}));
  TESSERA_RETURN_IF_ERROR(router->JoinCluster(options, network));
  TESSERA_RETURN_IF_ERROR(router->BuildEngine(options));
  TESSERA_ASSIGN_OR_RETURN(router->rpc_, RpcServer::Start({.listen = options.listen,
                                                           .stop_timeout = absl::Milliseconds(500)},
                                                          router->cluster_->services()));
  if (options.sink == nullptr) router->loop_->Start();
  return router;
}

absl::Status TestRouter::JoinCluster(const TestRouterOptions& options,
                                     const std::shared_ptr<LoopbackNetwork>& network) {
  TESSERA_ASSIGN_OR_RETURN(const DataAddress way,
                           ParseDataAddress(absl::StrCat(options.data_scheme, ":127.0.0.1:0")));
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<Transport> transport,
                           MakeTransport(way.way, {.loopback = network}));
  exchange_ = std::make_unique<ExchangeClient>(options.exchange, clock_, std::move(transport));
  const ModelSpec& spec = model_->spec();
  TESSERA_ASSIGN_OR_RETURN(const uint64_t identity, ModelIdentity(spec, model_->checkpoint()));
  router::ClusterConfig config;
  config.model = {
      .model_hash = wire::HashText(identity),
      .d_model = static_cast<uint32_t>(spec.d_model),
      .layer_count = static_cast<uint32_t>(spec.layer_count),
      .expert_count = static_cast<uint32_t>(spec.expert_count),
      .expert_width = static_cast<uint32_t>(spec.expert_width),
      .top_k = static_cast<uint32_t>(spec.top_k),
      .expert_dtype = "",
      .kernel_level = kernels::LevelName(model_->compute().isa, model_->compute().features,
                                         model_->compute().arithmetic)};
  config.moe_layers = MoeLayers(spec);
  config.incarnation = FreshNumber();
  config.leader = options.leader;
  TESSERA_ASSIGN_OR_RETURN(config.secret, ClusterSecret::FromFile(options.cluster_secret_file));
  config.data_scheme = options.data_scheme;
  const bool exact = model_->compute().arithmetic == kernels::Arithmetic::kFloat32;
  config.dtype_up = exact ? wire::RowDType::kF32 : wire::RowDType::kBF16;
  config.strict = dispatch_.strict;
  config.balance = options.balance;
  TESSERA_ASSIGN_OR_RETURN(
      cluster_, router::Cluster::Start(std::move(config), *exchange_, clock_, registry_));
  return absl::OkStatus();
}

absl::Status TestRouter::BuildEngine(const TestRouterOptions& options) {
  router::ShardDirectory& directory = cluster_->directory();
  router::ExpertTally& tally = cluster_->meter().tally;
  dispatcher_ = std::make_unique<router::Dispatcher>(
      dispatch_, router::DispatchRooms{
                     *exchange_, directory, clock_, registry_, {}, nullptr, &cluster_->meter()});
  router::TokenSink& sink = options.sink != nullptr ? *options.sink : book_;
  TESSERA_ASSIGN_OR_RETURN(rooms_, router::RouterRooms::Create(*model_, kCapacity, kv_,
                                                               {*dispatcher_, sink, clock_,
                                                                registry_, &directory, &tally}));
  if (options.sink != nullptr) return absl::OkStatus();
  loop_ = std::make_unique<router::EngineLoop>(
      router::EngineLoopConfig{.vocab = model_->spec().vocab, .seed = FreshNumber()},
      router::EngineLoopRooms{rooms_->engine(), rooms_->scheduler(), book_, board_, clock_,
                              registry_, &directory, [this] { dispatcher_->LookAround(); }});
  return absl::OkStatus();
}

std::shared_ptr<EventReader> TestRouter::Submit(wire::GenerationParams params) {
  auto reader = EventReader::Submit(*loop_, std::move(params));
  TESSERA_CHECK(reader.ok());
  return *reader;
}

void TestRouter::Stop() {
  if (loop_ != nullptr) loop_->Stop();
  if (cluster_ != nullptr) cluster_->Stop();
  if (rpc_ != nullptr) rpc_->Stop();
}

bool TestRouter::Linked(uint32_t shard) const {
  return cluster_->directory().View()->LinkOf(ShardId{shard}) != nullptr;
}

double TestRouter::Total(const std::string& metric) const {
  return SumOf(registry_.Text(), metric, "");
}

double TestRouter::OfShard(const std::string& metric, uint32_t shard) const {
  return SumOf(registry_.Text(), metric, absl::StrCat("shard=\"", shard, "\""));
}

absl::StatusOr<std::unique_ptr<TestCluster>> TestCluster::Start(const std::string& model_dir,
                                                                const TestClusterOptions& options) {
  std::unique_ptr<TestCluster> cluster(new TestCluster(model_dir, options));
  TESSERA_RETURN_IF_ERROR(cluster->StartAll());
  return cluster;
}

absl::Status TestCluster::StartAll() {
  TESSERA_ASSIGN_OR_RETURN(router_,
                           TestRouter::Start(model_dir_, options_.router, clock_, network_));
  ShardFleetOptions fleet;
  fleet.shard_count = options_.shard_count;
  fleet.replicas = options_.replicas;
  fleet.slots_spare = options_.slots_spare;
  fleet.router_addresses = {router_->address()};
  fleet.cluster_secret_file = options_.router.cluster_secret_file;
  fleet.data_scheme = options_.router.data_scheme;
  fleet.compute.precision = options_.router.precision;
  fleet.model_dirs = options_.model_dirs;
  fleet_ = std::make_unique<ShardFleet>(model_dir_, std::move(fleet), clock_, network_);
  TESSERA_RETURN_IF_ERROR(fleet_->StartAll());
  TESSERA_RETURN_IF_ERROR(router_->cluster().WaitUntilCovered(kPatience));
  for (uint32_t i = 0; i < options_.shard_count; ++i) {
    if (!AwaitLinked(i)) return absl::UnavailableError(absl::StrCat("no link to shard ", i));
  }
  return absl::OkStatus();
}

absl::Status TestCluster::RestartRouter() {
  TestRouterOptions options = options_.router;
  options.listen = router_->address();
  router_.reset();
  TESSERA_ASSIGN_OR_RETURN(router_, TestRouter::Start(model_dir_, options, clock_, network_));
  return router_->cluster().WaitUntilCovered(kPatience);
}

absl::StatusOr<std::unique_ptr<TestRouter>> TestCluster::StartFollower(TestRouterOptions options) {
  options.listen = "127.0.0.1:0";
  options.leader = router_->address();
  options.data_scheme = options_.router.data_scheme;
  options.cluster_secret_file = options_.router.cluster_secret_file;
  TESSERA_ASSIGN_OR_RETURN(auto follower, TestRouter::Start(model_dir_, options, clock_, network_));
  TESSERA_RETURN_IF_ERROR(follower->cluster().WaitUntilCovered(kPatience));
  return follower;
}

bool TestCluster::AwaitLinked(uint32_t shard) const {
  return WaitUntil([this, shard] { return router_->Linked(shard); }, kPatience);
}

}  // namespace tessera::testing
