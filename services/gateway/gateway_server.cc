#include "services/gateway/gateway_server.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/admin/admin_routes.h"
#include "common/base/entropy.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/thread.h"
#include "common/http/http_server.h"
#include "common/rpc/server.h"
#include "common/tracing/tracer.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/edge/inference_service.h"
#include "services/gateway/edge/kserve_service.h"
#include "services/gateway/session/router_metrics.h"

namespace tessera::gateway {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(20);
// While no request is under way and every router is ready. A request or a router that goes wakes
// the ticker before.
constexpr absl::Duration kSlowTick = absl::Seconds(1);
// For clients to take what they are told at the end of a drain.
constexpr absl::Duration kLastWordsTime = absl::Seconds(1);
constexpr absl::Duration kStatusReadTime = absl::Milliseconds(100);  // gRPC's
constexpr absl::Duration kCallsPollTime = absl::Milliseconds(5);

// When the two files were last written; nothing if one cannot be told.
int64_t StampOf(const std::string& certificate_file, const std::string& key_file) {
  int64_t stamp = 0;
  for (const std::string& file : {certificate_file, key_file}) {
    std::error_code error;
    const auto written = std::filesystem::last_write_time(file, error);
    if (error) return 0;
    stamp = static_cast<int64_t>(MixBits(static_cast<uint64_t>(stamp)) ^
                                 static_cast<uint64_t>(written.time_since_epoch().count()));
  }
  return stamp;
}

// The admin listener has one thread, which probes wait for: routers that do not answer at once are
// asked for again by the next request.
tessera::HttpReply AdminExpertLoad(ExpertLoadSource& source, std::string_view query) {
  if (const absl::Status window = CheckLoadWindow(query); !window.ok()) {
    return {.status = 400, .body = absl::StrCat(window.message(), "\n")};
  }
  const absl::StatusOr<std::string> json = source.Await(absl::Milliseconds(300));
  if (json.ok()) return tessera::HttpReply::Json(200, *json);
  return {.status = 503, .body = absl::StrCat(json.status().message(), "\n")};
}

}  // namespace

// Members stand in the order in which they are built, and end in the reverse.
class GatewayServer::House {
 public:
  House(GatewayConfig config, const Clock& clock)
      : config_(std::move(config)),
        clock_(clock),
        admission_(config_.admission, clock_, registry_,
                   {{"model_name", config_.rest.model_names[0]}}),
        limiter_(clock_),
        metrics_(registry_, config_.rest.model_names[0]),
        router_metrics_(registry_, config_.rest.model_names[0]),
        connections_gauge_(
            registry_.AddGauge("tessera_gateway_connections_open", "Connections of clients.")),
        slow_readers_(registry_.AddCounter("tessera_gateway_slow_readers_total",
                                           "Connections cut because the client did not read.")),
        id_seed_(FreshNumber()) {
    AddProcessMetrics(registry_, "gateway");
    // What a rate begins with: the first one is seen as well.
    for (const int status : {200, 400, 401, 403, 404, 413, 429, 500, 503}) RepliesOf(status);
  }
  ~House() { Stop(absl::ZeroDuration()); }

  absl::Status Build();
  void AwaitCalls(absl::Duration deadline);
  void Stop(absl::Duration timeout);

  const GatewayConfig& config() const { return config_; }
  const HttpServer& http() const { return *http_; }
  const RpcServer* rpc() const { return rpc_.get(); }
  const tessera::HttpServer* admin() const { return admin_.get(); }
  const RestApi& rest() const { return *rest_; }

 private:
  absl::Status BuildText();
  absl::Status BuildRest();
  absl::Status BuildListeners();
  void RunTicks();
  void WakeTicker();
  void ShowReadiness();
  void SlowTick();
  void RefreshMetrics();
  Counter& RepliesOf(int status);

  GatewayConfig config_;
  const Clock& clock_;
  Registry registry_;
  Admission admission_;
  RateLimiter limiter_;
  GatewayMetrics metrics_;
  RouterMetrics router_metrics_;
  std::unique_ptr<Tracer> tracer_;
  Gauge connections_gauge_;
  Counter slow_readers_;
  uint64_t slow_readers_seen_ = 0;  // RefreshMetrics'
  std::map<int, Counter> replies_;  // by status; RefreshMetrics'
  const uint64_t id_seed_;
  std::atomic<uint64_t> id_counter_{0};
  std::unique_ptr<const TextModel> model_;
  std::unique_ptr<KeyStore> keys_;
  // Of gRPC's sessions: what the pool still tells them must find their thread.
  std::vector<std::unique_ptr<CallService>> calls_;
  std::unique_ptr<RouterPool> pool_;  // ends before the queue it pumps
  std::unique_ptr<ExpertLoadSource> expert_load_;
  std::unique_ptr<TextWorkers> workers_;
  std::unique_ptr<RestApi> rest_;
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<tessera::HttpServer> admin_;
  std::unique_ptr<HttpServer> http_;
  BoundedQueue<int> ticks_{1};  // wakes the ticker; closed to end it
  std::atomic<bool> dozing_ = false;
  Thread ticker_;
  int64_t tls_stamp_ = 0;     // the ticker's
  bool shown_ready_ = false;  // the same
};

absl::Status GatewayServer::House::Build() {
  TESSERA_ASSIGN_OR_RETURN(tracer_, Tracer::Start(config_.tracing, clock_, registry_));
  TESSERA_RETURN_IF_ERROR(BuildText());
  TESSERA_RETURN_IF_ERROR(BuildRest());
  return BuildListeners();
}

absl::Status GatewayServer::House::BuildText() {
  TESSERA_ASSIGN_OR_RETURN(model_, TextModel::Load(config_.text));
  const std::string& source = model_->template_source();
  if (config_.tool_parser == "auto") {
    config_.session.tools = DetectToolFormat(source);
  } else {
    TESSERA_ASSIGN_OR_RETURN(config_.session.tools, ToolFormatFromName(config_.tool_parser));
  }
  if (config_.reasoning_parser == "auto") {
    config_.session.reasoning = DetectReasoningRule(source);
  } else {
    TESSERA_ASSIGN_OR_RETURN(config_.session.reasoning,
                             ReasoningRuleFromName(config_.reasoning_parser));
  }
  return absl::OkStatus();
}

absl::Status GatewayServer::House::BuildRest() {
  if (!config_.keys_file.empty()) {
    TESSERA_ASSIGN_OR_RETURN(keys_, KeyStore::Open({.path = config_.keys_file}, clock_));
  }
  config_.pool.eos_tokens = model_->eos_tokens();
  TESSERA_ASSIGN_OR_RETURN(pool_, RouterPool::Open(config_.pool, clock_, registry_));
  pool_->OnRoom([this] {
    admission_.Pump();
    WakeTicker();
  });
  admission_.OnArrival([this] { WakeTicker(); });
  expert_load_ = std::make_unique<ExpertLoadSource>(
      [this](ExpertLoadDone done) { pool_->CollectExpertLoad(std::move(done)); }, clock_);
  workers_ = std::make_unique<TextWorkers>(config_.text_threads, /*waiting_max=*/256);
  const auto next_call_id = [this] {
    const uint64_t number = id_counter_++;
    return MakeCallId(RandomBits(id_seed_, 2 * number), RandomBits(id_seed_, 2 * number + 1));
  };
  const SessionRooms sessions = {.config = config_.session,
                                 .model = *model_,
                                 .admission = admission_,
                                 .pool = *pool_,
                                 .limiter = limiter_,
                                 .metrics = metrics_,
                                 .clock = clock_,
                                 .next_call_id = next_call_id,
                                 .tracer = tracer_.get()};
  rest_ = std::make_unique<RestApi>(config_.rest, RestApi::Rooms{.sessions = sessions,
                                                                 .workers = *workers_,
                                                                 .keys = keys_.get(),
                                                                 .registry = registry_,
                                                                 .expert_load = *expert_load_});
  const InferenceRooms calls = {.sessions = sessions,
                                .keys = keys_.get(),
                                .model_names = config_.rest.model_names,
                                .limits = config_.rest.limits,
                                .version = config_.rest.version};
  calls_.push_back(MakeInferenceService(calls));
  calls_.push_back(MakeKserveService(calls));
  return absl::OkStatus();
}

absl::Status GatewayServer::House::BuildListeners() {
  if (!config_.grpc_listen.empty()) {
    RpcServerConfig rpc;
    rpc.listen = config_.grpc_listen;
    rpc.tls = config_.tls;
    rpc.stop_timeout = kLastWordsTime;  // House::Stop waits before
    std::vector<NamedService> services;
    for (const auto& call : calls_) services.push_back({call->name(), &call->service()});
    TESSERA_ASSIGN_OR_RETURN(rpc_, RpcServer::Start(rpc, std::move(services)));
  }
  if (!config_.admin_listen.empty()) {
    tessera::HttpServerConfig admin;
    admin.listen = config_.admin_listen;
    std::vector<HttpRoute> routes = AdminRoutes(
        registry_, [this] { return rest_->ReadinessReasons(); }, config_.rest.metric_aliases);
    routes.push_back({"GET", "/v1/experts/load", [this](const tessera::HttpRequest& request) {
                        return AdminExpertLoad(*expert_load_, request.query);
                      }});
    TESSERA_ASSIGN_OR_RETURN(admin_, tessera::HttpServer::Start(admin, std::move(routes)));
  }
  tls_stamp_ = StampOf(config_.http.certificate_file, config_.http.key_file);
  TESSERA_ASSIGN_OR_RETURN(http_,
                           HttpServer::Start(
                               config_.http,
                               [this](HttpRequest request, std::shared_ptr<HttpReply> reply) {
                                 rest_->Serve(std::move(request), std::move(reply));
                               },
                               &RestApi::ErrorReply, clock_));
  registry_.BeforeText([this] { RefreshMetrics(); });
  ticker_ = Thread("ticker", [this](std::stop_token) { RunTicks(); });
  return absl::OkStatus();
}

void GatewayServer::House::RunTicks() {
  absl::Duration slow_at = clock_.Elapsed();
  while (!ticks_.closed()) {
    pool_->Tick();
    admission_.Tick();
    ShowReadiness();
    if (clock_.Elapsed() >= slow_at) {
      slow_at = clock_.Elapsed() + kSlowTick;
      SlowTick();
    }
    dozing_ = true;  // what comes from here on wakes, what came before is seen
    const bool idle = pool_->is_settled() && admission_.waiting_count() == 0;
    if (!idle) dozing_ = false;
    ticks_.PopFor(idle ? std::max(slow_at - clock_.Elapsed(), kTick) : kTick);
    dozing_ = false;
  }
}

void GatewayServer::House::WakeTicker() {
  if (dozing_.exchange(false)) ticks_.TryPush(0);
}

// What gRPC's health says follows /readyz within a tick.
void GatewayServer::House::ShowReadiness() {
  const bool ready = rest_->ReadinessReasons().empty();
  if (rpc_ == nullptr || ready == shown_ready_) return;
  shown_ready_ = ready;
  rpc_->SetServing(ready);
}

void GatewayServer::House::RefreshMetrics() {
  router_metrics_.Refresh(pool_->Snapshot());
  const HttpServerStats stats = http_->stats();
  connections_gauge_.Set(static_cast<double>(stats.connections_open));
  slow_readers_.Increment(static_cast<double>(stats.slow_readers_total - slow_readers_seen_));
  slow_readers_seen_ = stats.slow_readers_total;
  for (const auto& [status, total] : stats.replies_total) {
    Counter& replies = RepliesOf(status);
    replies.Increment(std::max(0.0, static_cast<double>(total) - replies.value()));
  }
}

Counter& GatewayServer::House::RepliesOf(int status) {
  const auto [place, is_new] = replies_.try_emplace(status);
  if (is_new) {
    place->second = registry_.AddCounter("tessera_gateway_http_replies_total",
                                         "Replies of the HTTP port, probes too, by status.",
                                         {{"code", absl::StrCat(status)}});
  }
  return place->second;
}

void GatewayServer::House::SlowTick() {
  rest_->Tick();
  if (config_.http.certificate_file.empty()) return;
  const int64_t stamp = StampOf(config_.http.certificate_file, config_.http.key_file);
  if (stamp == 0 || stamp == tls_stamp_) return;
  tls_stamp_ = stamp;
  if (const absl::Status reloaded = http_->ReloadTls(); !reloaded.ok()) {
    TESSERA_LOG(WARNING) << "the TLS files changed but cannot be used, the old ones stay: "
                         << reloaded.message();
  } else {
    TESSERA_LOG(INFO) << "the TLS files changed; new connections use them";
  }
}

// gRPC's server listens until its calls are over, though it takes none: one that shuts down closes
// a connection behind the last call's status, and a client that is just writing may lose it.
void GatewayServer::House::AwaitCalls(absl::Duration deadline) {
  const auto has_calls = [this] {
    return std::any_of(calls_.begin(), calls_.end(),
                       [](const auto& service) { return service->has_calls(); });
  };
  bool had_calls = false;
  while (has_calls() && clock_.Elapsed() < deadline) {
    had_calls = true;
    absl::SleepFor(kCallsPollTime);
  }
  if (had_calls) absl::SleepFor(kStatusReadTime);
}

void GatewayServer::House::Stop(absl::Duration timeout) {
  const absl::Duration deadline = clock_.Elapsed() + timeout;
  if (rest_ != nullptr) rest_->Drain();
  for (const auto& service : calls_) service->Drain();
  admission_.Drain();
  if (rpc_ != nullptr) rpc_->Drain();
  if (http_ != nullptr) http_->Drain();
  // Both ways of asking have the same time. The ticker runs on: what is cut must reach routers.
  if (timeout > absl::ZeroDuration()) {
    if (http_ != nullptr) http_->AwaitReplies(timeout);
    AwaitCalls(deadline);
    // What is not over by now hears why it ends.
    if (rest_ != nullptr) rest_->GiveUp(Draining());
  }
  for (const auto& service : calls_) service->EndCalls();
  if (rpc_ != nullptr) rpc_->Stop();
  if (expert_load_ != nullptr) expert_load_->Stop();
  if (http_ != nullptr) http_->Stop(std::min(timeout, kLastWordsTime));
  for (const auto& service : calls_) service->Stop();
  if (workers_ != nullptr) workers_->Stop();
  ticks_.Close();
  ticker_.Stop();
  if (admin_ != nullptr) admin_->Stop();
}

GatewayServer::GatewayServer(std::unique_ptr<House> house) : house_(std::move(house)) {}
GatewayServer::~GatewayServer() = default;

absl::StatusOr<std::unique_ptr<GatewayServer>> GatewayServer::Start(const GatewayConfig& config,
                                                                    const Clock& clock) {
  TESSERA_RETURN_IF_ERROR(config.Validate());
  auto house = std::make_unique<House>(config, clock);
  TESSERA_RETURN_IF_ERROR(house->Build());
  return std::unique_ptr<GatewayServer>(new GatewayServer(std::move(house)));
}

std::vector<std::pair<std::string, std::string>> GatewayServer::Endpoints() const {
  std::vector<std::pair<std::string, std::string>> endpoints = {{"http", house_->http().address()}};
  if (house_->rpc() != nullptr) {
    const std::string& advertised = house_->config().grpc_advertise;
    endpoints.emplace_back("grpc", advertised.empty() ? house_->rpc()->address() : advertised);
  }
  if (house_->admin() != nullptr) endpoints.emplace_back("admin", house_->admin()->address());
  return endpoints;
}

void GatewayServer::Stop() { house_->Stop(house_->config().drain); }
int GatewayServer::http_port() const { return house_->http().port(); }
std::string GatewayServer::admin_address() const {
  return house_->admin() == nullptr ? "" : house_->admin()->address();
}
std::vector<std::string> GatewayServer::ReadinessReasons() const {
  return house_->rest().ReadinessReasons();
}

ServiceProgram BuildGateway() {
  ServiceProgram program;
  program.name = "tessera-gateway";
  program.config = GatewayDefaults();
  program.build =
      [clock = std::make_shared<RealClock>()](
          const google::protobuf::Message& message) -> absl::StatusOr<std::unique_ptr<Service>> {
    TESSERA_ASSIGN_OR_RETURN(const GatewayConfig config, ToGatewayConfig(message));
    return GatewayServer::Start(config, *clock);
  };
  return program;
}

}  // namespace tessera::gateway
