#include "services/router/router_server.h"

#include <algorithm>
#include <atomic>
#include <iterator>

#include "absl/strings/str_format.h"
#include "common/admin/admin_routes.h"
#include "common/base/entropy.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/concurrency/thread.h"
#include "common/http/http_server.h"
#include "common/kernels/compute_level.h"
#include "common/model/moe_layers.h"
#include "common/rpc/server.h"
#include "common/tracing/tracer.h"
#include "common/transport/data_address.h"
#include "common/transport/exchange_client.h"
#include "common/weights/model_identity.h"
#include "services/router/cluster/cluster.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/dispatch/idle_polling.h"
#include "services/router/edge/balance_routes.h"
#include "services/router/edge/generation_service.h"
#include "services/router/edge/observation_service.h"
#include "services/router/tally/expert_metrics.h"
#include "services/router/tally/tally_metrics.h"

namespace tessera::router {
namespace {

// How soon gateways hear of weights that went bad. That experts are gone, or there again, they hear
// at once.
constexpr absl::Duration kReadinessInterval = absl::Seconds(1);

}  // namespace

// Members stand in the order of their start.
class RouterServer::House {
 public:
  House(const RouterConfig& config, const Clock& clock) : config_(config), clock_(clock) {
    AddProcessMetrics(registry_, "router");
    registry_.BeforeText([this] { RefreshMetrics(); });
  }
  ~House() { Stop(); }

  absl::Status Build(RouterParts parts);
  void Stop();
  std::vector<std::string> NotReadyReasons() const;
  std::string grpc_address() const {
    return config_.grpc_advertise.empty() ? rpc_->address() : config_.grpc_advertise;
  }
  std::string admin_address() const { return admin_ == nullptr ? "" : admin_->address(); }

 private:
  absl::Status StartAdmin();
  absl::Status LoadModel();
  absl::Status OpenExchange(RouterParts parts);
  absl::Status JoinCluster();
  absl::Status BuildEngine();
  absl::Status Listen();
  void WatchReadiness(const std::stop_token& stop);
  void RefreshMetrics();
  wire::RouterActivity Activity() const;
  ExpertTally& tally() { return cluster_->meter().tally; }

  const RouterConfig config_;
  const Clock& clock_;
  const uint64_t process_id_ = FreshNumber();
  Registry registry_;
  std::atomic<bool> built_ = false;
  std::atomic<bool> stopping_ = false;

  std::unique_ptr<Tracer> tracer_;
  std::unique_ptr<HttpServer> admin_;
  std::unique_ptr<RouterModel> model_;
  KvPlan kv_;
  std::unique_ptr<ExchangeClient> exchange_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<TallyMetrics> tally_metrics_;
  std::unique_ptr<IdlePoll> idle_poll_;
  std::unique_ptr<Dispatcher> dispatcher_;
  LoadBoard board_;
  std::unique_ptr<RequestBook> book_;
  std::unique_ptr<RouterRooms> rooms_;
  std::unique_ptr<EngineLoop> loop_;
  std::unique_ptr<GenerationService> generation_;
  std::unique_ptr<ObservationService> observation_;
  std::unique_ptr<RpcServer> rpc_;
  Thread readiness_;
};

absl::Status RouterServer::House::Build(RouterParts parts) {
  TESSERA_ASSIGN_OR_RETURN(tracer_, Tracer::Start(config_.tracing, clock_, registry_));
  TESSERA_RETURN_IF_ERROR(StartAdmin());
  TESSERA_RETURN_IF_ERROR(LoadModel());
  TESSERA_RETURN_IF_ERROR(OpenExchange(std::move(parts)));
  TESSERA_RETURN_IF_ERROR(JoinCluster());
  TESSERA_RETURN_IF_ERROR(BuildEngine());
  TESSERA_RETURN_IF_ERROR(Listen());
  built_ = true;
  loop_->Start();
  readiness_ = Thread("readiness", [this](const std::stop_token& stop) { WatchReadiness(stop); });
  return absl::OkStatus();
}

absl::Status RouterServer::House::StartAdmin() {
  if (config_.admin_listen.empty()) return absl::OkStatus();
  std::vector<HttpRoute> routes = AdminRoutes(registry_, [this] { return NotReadyReasons(); });
  if (config_.expert_metrics) {
    routes.push_back({"GET", "/metrics/experts", [this](const HttpRequest&) {
                        if (!built_) return HttpReply{.status = 503, .body = "loading\n"};
                        return HttpReply{.content_type = kMetricsContentType,
                                         .body = ExpertMetricsText(tally())};
                      }});
  }
  std::ranges::move(
      BalanceRoutes([this]() -> Cluster* { return built_ ? cluster_.get() : nullptr; }),
      std::back_inserter(routes));
  TESSERA_ASSIGN_OR_RETURN(admin_,
                           HttpServer::Start({.listen = config_.admin_listen}, std::move(routes)));
  return absl::OkStatus();
}

absl::Status RouterServer::House::LoadModel() {
  TESSERA_ASSIGN_OR_RETURN(model_, RouterModel::Open(config_.model, config_.compute));
  const size_t weight_bytes = model_->mapped() ? 0 : model_->PackedBytes();
  TESSERA_ASSIGN_OR_RETURN(
      kv_, PlanKv(model_->spec(), model_->kv_type(), config_.capacity, weight_bytes));
  TESSERA_RETURN_IF_ERROR(model_->Load({}));
  TESSERA_LOG(INFO) << "weights loaded: "
                    << absl::StrFormat("%.2f GB", static_cast<double>(weight_bytes) / 1e9)
                    << "; context of " << kv_.context_max << " tokens";
  return absl::OkStatus();
}

absl::Status RouterServer::House::OpenExchange(RouterParts parts) {
  std::unique_ptr<Transport> transport = std::move(parts.transport);
  if (transport == nullptr) {
    TESSERA_ASSIGN_OR_RETURN(const DataAddress way,
                             ParseDataAddress(config_.transport + ":127.0.0.1:0"));
    TESSERA_ASSIGN_OR_RETURN(
        transport, MakeTransport(way.way, {.ucx = config_.ucx, .grpc = {.tls = config_.tls}}));
  }
  exchange_ = std::make_unique<ExchangeClient>(ExchangeConfig{}, clock_, std::move(transport));
  return absl::OkStatus();
}

absl::Status RouterServer::House::JoinCluster() {
  const ModelSpec& spec = model_->spec();
  TESSERA_ASSIGN_OR_RETURN(const uint64_t identity, ModelIdentity(spec, model_->checkpoint()));
  ClusterConfig cluster;
  cluster.model = {
      .model_hash = wire::HashText(identity),
      .d_model = static_cast<uint32_t>(spec.d_model),
      .layer_count = static_cast<uint32_t>(spec.layer_count),
      .expert_count = static_cast<uint32_t>(spec.expert_count),
      .expert_width = static_cast<uint32_t>(spec.expert_width),
      .top_k = static_cast<uint32_t>(spec.top_k),
      .expert_dtype = "",  // the shards' choice
      .kernel_level = kernels::LevelName(model_->compute().isa, model_->compute().features,
                                         model_->compute().arithmetic)};
  cluster.moe_layers = MoeLayers(spec);
  cluster.incarnation = FreshNumber();
  cluster.leader = config_.leader;
  TESSERA_ASSIGN_OR_RETURN(cluster.secret, ClusterSecret::FromFile(config_.cluster_secret_file));
  cluster.tls = config_.tls;
  cluster.data_scheme = config_.transport;
  cluster.credits = config_.credits;
  cluster.rows_max = config_.rows_max;
  const bool exact = model_->compute().arithmetic == kernels::Arithmetic::kFloat32;
  cluster.dtype_up = exact ? wire::RowDType::kF32 : wire::RowDType::kBF16;
  cluster.strict = config_.dispatch.strict;
  cluster.heartbeat_interval = config_.heartbeat_interval;
  cluster.lost_after = config_.silence_max;
  cluster.copies_wanted = config_.copies_wanted;
  cluster.balance = config_.balance;
  TESSERA_ASSIGN_OR_RETURN(cluster_,
                           Cluster::Start(std::move(cluster), *exchange_, clock_, registry_));
  tally_metrics_ = std::make_unique<TallyMetrics>(registry_, tally());
  return absl::OkStatus();
}

absl::Status RouterServer::House::BuildEngine() {
  ShardDirectory& directory = cluster_->directory();
  if (!config_.record_routing.empty()) {
    TESSERA_ASSIGN_OR_RETURN(
        cluster_->meter().recorder,
        RoutingRecorder::Create(
            config_.record_routing, {model_->spec().layer_count, model_->spec().expert_count},
            static_cast<uint32_t>(model_->spec().top_k), config_.record_routing_bytes_max));
  }
  TESSERA_ASSIGN_OR_RETURN(const DataAddress data, ParseDataAddress(config_.transport + ":"));
  idle_poll_ = StartIdlePoll(config_.idle_poll, data.way == DataWay::kShm,
                             model_->pool().thread_count(), clock_);
  dispatcher_ =
      std::make_unique<Dispatcher>(config_.dispatch, DispatchRooms{.exchange = *exchange_,
                                                                   .directory = directory,
                                                                   .clock = clock_,
                                                                   .registry = registry_,
                                                                   .pool = &model_->pool(),
                                                                   .meter = &cluster_->meter(),
                                                                   .idle_poll = idle_poll_.get()});
  book_ = std::make_unique<RequestBook>(
      BookConfig{.token_count = model_->token_count(), .tracer = tracer_.get()}, clock_);
  TESSERA_ASSIGN_OR_RETURN(
      rooms_, RouterRooms::Create(*model_, config_.capacity, kv_,
                                  {*dispatcher_, *book_, clock_, registry_, &directory, &tally()}));
  loop_ = std::make_unique<EngineLoop>(
      EngineLoopConfig{.waiting_max = config_.capacity.waiting_max,
                       .vocab = model_->token_count(),
                       .seed = FreshNumber(),
                       .experts_wait_max = config_.experts_wait_max},
      EngineLoopRooms{rooms_->engine(), rooms_->scheduler(), *book_, board_, clock_, registry_,
                      &directory, [this] { dispatcher_->LookAround(); }});
  return absl::OkStatus();
}

absl::Status RouterServer::House::Listen() {
  board_.SetNotReady(NotReadyReasons());
  generation_ = std::make_unique<GenerationService>(*loop_, board_, clock_);
  std::vector<NamedService> services = cluster_->services();
  services.push_back(generation_->named());
  observation_ = std::make_unique<ObservationService>([this] {
    wire::ExpertLoad load = LoadOf(tally(), cluster_->ShardActivities(), clock_.Elapsed());
    load.routers = {Activity()};
    return load;
  });
  services.push_back(observation_->named());
  TESSERA_ASSIGN_OR_RETURN(rpc_, RpcServer::Start({.listen = config_.grpc_listen,
                                                   .stop_timeout = absl::Seconds(1),
                                                   .tls = config_.tls},
                                                  std::move(services)));
  return absl::OkStatus();
}

wire::RouterActivity RouterServer::House::Activity() const {
  const RouterLoad load = board_.Read();
  return {.process_id = process_id_,
          .generation_tokens = static_cast<uint64_t>(rooms_->metrics().tokens.value()),
          .prompt_tokens = load.prompt_tokens_total,
          .sequences_running = load.sequences_running,
          .sequences_waiting = load.sequences_waiting};
}

void RouterServer::House::WatchReadiness(const std::stop_token& stop) {
  // Serving from the time on that every expert is covered. Later losses are the failure ladder's:
  // requests wait, and a router that said NOT_SERVING would only send them elsewhere to wait.
  // Gateways hear of them, and ask routers that are ready first.
  bool serving = false;
  while (!stop.stop_requested()) {
    const uint64_t version = cluster_->directory().View()->version;
    board_.SetNotReady(NotReadyReasons());
    if (!serving && cluster_->Coverage().ok() && !stop.stop_requested()) {
      serving = true;
      rpc_->SetServing(true);
      TESSERA_LOG(INFO) << "every expert is held by a shard; requests are taken at "
                        << grpc_address();
    }
    cluster_->AwaitViewAfter(version, kReadinessInterval);
  }
}

void RouterServer::House::RefreshMetrics() {
  if (!built_) return;
  tally_metrics_->Refresh(clock_.Elapsed());
  cluster_->RefreshMetrics();
}

std::vector<std::string> RouterServer::House::NotReadyReasons() const {
  if (!built_) return {"the weights are being loaded"};
  if (stopping_) return {"stopping"};
  std::vector<std::string> reasons;
  for (const absl::Status& status : {cluster_->Coverage(), loop_->health()}) {
    if (!status.ok()) reasons.emplace_back(status.message());
  }
  return reasons;
}

void RouterServer::House::Stop() {
  if (stopping_.exchange(true)) return;
  if (readiness_.joinable()) readiness_.RequestStop();
  if (rpc_ != nullptr) rpc_->Drain();
  if (loop_ != nullptr) {
    loop_->Drain();
    if (!loop_->AwaitIdle(config_.drain_max)) {
      TESSERA_LOG(WARNING) << "requests that still run end; gateways take them elsewhere";
    }
    loop_->Stop();
  }
  if (generation_ != nullptr) generation_->EndStreams();
  if (cluster_ != nullptr) cluster_->Stop();
  readiness_.Stop();
  if (rpc_ != nullptr) rpc_->Stop();
  if (admin_ != nullptr) admin_->Stop();
}

RouterServer::RouterServer(std::unique_ptr<House> house) : house_(std::move(house)) {}
RouterServer::~RouterServer() = default;

absl::StatusOr<std::unique_ptr<RouterServer>> RouterServer::Start(const RouterConfig& config,
                                                                  const Clock& clock,
                                                                  RouterParts parts) {
  auto house = std::make_unique<House>(config, clock);
  TESSERA_RETURN_IF_ERROR(house->Build(std::move(parts)));
  return std::unique_ptr<RouterServer>(new RouterServer(std::move(house)));
}

std::vector<std::pair<std::string, std::string>> RouterServer::Endpoints() const {
  std::vector<std::pair<std::string, std::string>> endpoints = {{"grpc", grpc_address()}};
  if (!admin_address().empty()) endpoints.emplace_back("admin", admin_address());
  return endpoints;
}

void RouterServer::Stop() { house_->Stop(); }
std::string RouterServer::grpc_address() const { return house_->grpc_address(); }
std::string RouterServer::admin_address() const { return house_->admin_address(); }
std::vector<std::string> RouterServer::NotReadyReasons() const { return house_->NotReadyReasons(); }

ServiceProgram BuildRouter() {
  ServiceProgram program;
  program.name = "tessera-router";
  program.config = DefaultRouterMessage();
  const auto clock = std::make_shared<RealClock>();
  program.build =
      [clock](
          const google::protobuf::Message& message) -> absl::StatusOr<std::unique_ptr<Service>> {
    TESSERA_ASSIGN_OR_RETURN(const RouterConfig config, ToRouterConfig(message));
    return RouterServer::Start(config, *clock);
  };
  return program;
}

}  // namespace tessera::router
