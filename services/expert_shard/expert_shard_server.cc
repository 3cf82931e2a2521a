#include "services/expert_shard/expert_shard_server.h"

#include <unistd.h>

#include <atomic>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/admin/admin_routes.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/concurrency/thread.h"
#include "common/device/host_memory.h"
#include "common/http/http_server.h"
#include "common/rpc/retry.h"
#include "common/rpc/server.h"
#include "common/tracing/tracer.h"
#include "common/transport/data_address.h"
#include "common/transport/transport_ucx.h"
#include "services/expert_shard/edge/expert_service.h"
#include "services/expert_shard/edge/peer_units.h"
#include "services/expert_shard/registration/registrar.h"
#include "services/expert_shard/shard_gauges.h"
#include "services/expert_shard/shard_model.h"

namespace tessera::expert_shard {
namespace {

// How long the compute thread sleeps at most when nothing arrives: not to miss the end, and without
// an end in sight. Each time it comes back the transport's own thread wakes up a dozen times, to
// see whether it has to take over.
constexpr absl::Duration kClosingTick = absl::Seconds(1);
constexpr absl::Duration kTick = absl::Seconds(30);

uint64_t FreshIncarnation() {
  uint64_t number = 0;
  while (number == 0) TESSERA_CHECK(getentropy(&number, sizeof number) == 0);
  return number;
}

TracerConfig TracingOf(const ExpertShardConfig& config) {
  TracerConfig tracing = config.tracing;
  tracing.resource.instance = absl::StrCat(config.slice.shard_id);
  return tracing;
}

}  // namespace

class ExpertShardServer::House {
 public:
  House(const ExpertShardConfig& config, const Clock& clock)
      : config_(config),
        clock_(clock),
        labels_{{"shard", absl::StrCat(config.slice.shard_id)}},
        metrics_(registry_, labels_),
        gauges_(registry_, labels_) {
    AddProcessMetrics(registry_, "expert");
    registry_.BeforeText([this] { RefreshMetrics(); });
  }
  ~House() { Close(); }

  absl::Status Build(ExpertShardParts parts);
  void Stop();

  std::string grpc_address() const {
    return config_.grpc_advertise.empty() ? rpc_->address() : config_.grpc_advertise;
  }
  std::string data_address() const {
    absl::MutexLock lock(&mutex_);
    return data_address_;
  }
  std::string admin_address() const { return admin_ != nullptr ? admin_->address() : ""; }
  uint64_t incarnation() const { return incarnation_; }
  ExpertStore& store() { return model_->store(); }
  BatchTotals totals() const { return batcher_->totals(); }
  size_t registered_count() const {
    absl::MutexLock lock(&mutex_);
    return registrar_ == nullptr ? 0 : registrar_->registered_count();
  }
  std::vector<std::string> NotReadyReasons() const;

 private:
  // What is packed lies in memory of its own, and was whole when it was packed.
  bool WeightsSound() const { return !model_->store().mapped() || !model_->checkpoint().damaged(); }
  absl::Status StartAdmin();
  absl::Status OpenExchange(ExpertShardParts parts);
  absl::Status StartControl(const ClusterSecret& secret);
  absl::Status Listen();
  absl::Status Register(const ClusterSecret& secret);
  void Compute(const std::stop_token& stop);
  void RefreshMetrics();
  void LeaveTheMap(absl::Duration give_up);
  ShardReport Report(bool with_held) const;
  // Everything ends, in the reverse order of its start.
  void Close();

  const ExpertShardConfig config_;  // constant after construction
  const Clock& clock_;
  const uint64_t incarnation_ = FreshIncarnation();
  const Registry::Labels labels_;
  Registry registry_;
  BatchMetrics metrics_;
  ShardGauges gauges_;
  std::atomic<wire::ShardState> state_{wire::ShardState::kLoading};
  std::atomic<bool> leaving_{false};   // told to stop
  std::atomic<bool> measured_{false};  // what the gauges tell of is there
  std::atomic<bool> closing_{false};   // no call is taken any more
  absl::Notification answered_;        // and none is left

  mutable absl::Mutex mutex_;
  std::string data_address_ ABSL_GUARDED_BY(mutex_);

  // In the order of their start.
  std::unique_ptr<Tracer> tracer_;
  std::unique_ptr<HttpServer> admin_;
  std::unique_ptr<ShardModel> model_;
  std::unique_ptr<SessionTable> sessions_;
  std::shared_ptr<GrpcDoor> door_ = std::make_shared<GrpcDoor>();
  std::unique_ptr<ExchangeServer> exchange_;
  std::unique_ptr<ExchangeAnswers> answers_;
  std::unique_ptr<RowBatcher> batcher_;
  std::unique_ptr<ProofKeeper> proofs_;
  std::unique_ptr<PeerUnits> peers_;
  std::unique_ptr<UnitLoader> loader_;
  std::unique_ptr<ExpertService> service_;
  std::unique_ptr<RpcServer> rpc_;
  Thread compute_;
  std::unique_ptr<Registrar> registrar_;
  bool stopped_ = false;  // by Stop's one caller
};

absl::Status ExpertShardServer::House::Build(ExpertShardParts parts) {
  TESSERA_RETURN_IF_ERROR(config_.Validate());
  TESSERA_ASSIGN_OR_RETURN(const ClusterSecret secret,
                           ClusterSecret::FromFile(config_.cluster_secret_file));
  TESSERA_ASSIGN_OR_RETURN(tracer_, Tracer::Start(TracingOf(config_), clock_, registry_));
  TESSERA_RETURN_IF_ERROR(StartAdmin());
  TESSERA_ASSIGN_OR_RETURN(model_, ShardModel::Load(config_, clock_));
  TESSERA_RETURN_IF_ERROR(OpenExchange(std::move(parts)));
  TESSERA_RETURN_IF_ERROR(StartControl(secret));
  TESSERA_RETURN_IF_ERROR(Listen());
  state_ = wire::ShardState::kReady;
  rpc_->SetServing(true);
  return Register(secret);
}

absl::Status ExpertShardServer::House::StartAdmin() {
  if (config_.admin_listen.empty()) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(
      admin_, HttpServer::Start({.listen = config_.admin_listen},
                                AdminRoutes(registry_, [this] { return NotReadyReasons(); })));
  return absl::OkStatus();
}

absl::Status ExpertShardServer::House::OpenExchange(ExpertShardParts parts) {
  std::unique_ptr<Transport> transport = std::move(parts.transport);
  if (transport == nullptr) {
    TESSERA_ASSIGN_OR_RETURN(const DataAddress address, ParseDataAddress(config_.data_listen));
    TESSERA_ASSIGN_OR_RETURN(transport, MakeTransport(address.way, {.ucx = config_.ucx,
                                                                    .grpc = {.tls = config_.tls},
                                                                    .grpc_door = door_,
                                                                    .loopback = parts.loopback}));
  }
  ExchangeConfig exchange = parts.exchange;
  exchange.peers_max = config_.routers_max;
  sessions_ = std::make_unique<SessionTable>(SessionLimits{.model = model_->identity(),
                                                           .incarnation = incarnation_,
                                                           .credits_max = config_.credits_max,
                                                           .rows_max = config_.rows_max,
                                                           .routers_max = config_.routers_max},
                                             clock_, [this] { return exchange_->peer_count(); });
  exchange_ = std::make_unique<ExchangeServer>(
      exchange, clock_, std::move(transport),
      [this](const wire::Hello& theirs) { return sessions_->Greet(theirs); });
  answers_ = std::make_unique<ExchangeAnswers>(*exchange_);
  batcher_ =
      std::make_unique<RowBatcher>(RowBatcherConfig{},
                                   BatcherRooms{model_->spec(), model_->store(), model_->compute(),
                                                *answers_, clock_, metrics_, tracer_.get()},
                                   [this] { return WeightsSound(); });
  measured_ = true;
  return absl::OkStatus();
}

absl::Status ExpertShardServer::House::StartControl(const ClusterSecret& secret) {
  proofs_ = std::make_unique<ProofKeeper>(secret, clock_);
  peers_ = std::make_unique<PeerUnits>(secret, config_.tls);
  loader_ = std::make_unique<UnitLoader>(
      model_->store(), clock_,
      [this] {
        absl::MutexLock lock(&mutex_);
        if (registrar_ != nullptr) registrar_->Hurry();
      },
      [this](const std::string& peer, const ExpertUnit& unit, uint64_t version,
             std::span<std::byte> bytes) { return peers_->Fetch(peer, unit, version, bytes); });
  service_ = std::make_unique<ExpertService>(
      ExpertServiceRooms{.shard = ShardId{config_.slice.shard_id},
                         .proofs = *proofs_,
                         .sessions = *sessions_,
                         .loader = *loader_,
                         .store = model_->store(),
                         .batcher = *batcher_,
                         .report = [this](bool with_held) { return Report(with_held); },
                         .exchange_stats = [this] { return exchange_->Stats(); },
                         .data_address = [this] { return data_address(); },
                         .door = door_});
  TESSERA_ASSIGN_OR_RETURN(rpc_, RpcServer::Start({.listen = config_.grpc_listen,
                                                   .stop_timeout = absl::Seconds(1),
                                                   .tls = config_.tls},
                                                  {service_->service()}));
  return absl::OkStatus();
}

absl::Status ExpertShardServer::House::Listen() {
  TESSERA_ASSIGN_OR_RETURN(DataAddress address, ParseDataAddress(config_.data_listen));
  // The gRPC way has no listener of its own, only the address of the service.
  const std::string place = address.way == DataWay::kGrpc ? grpc_address() : address.place;
  TESSERA_ASSIGN_OR_RETURN(address.place, exchange_->Listen(place));
  compute_ = Thread("compute", [this](const std::stop_token& stop) { Compute(stop); });
  absl::MutexLock lock(&mutex_);
  data_address_ =
      config_.data_advertise.empty() ? FormatDataAddress(address) : config_.data_advertise;
  return absl::OkStatus();
}

absl::Status ExpertShardServer::House::Register(const ClusterSecret& secret) {
  RegistrarConfig config;
  config.router_addresses = config_.router_addresses;
  config.model = model_->identity();
  config.shard.shard = ShardId{config_.slice.shard_id};
  config.shard.incarnation = incarnation_;
  config.shard.grpc_address = grpc_address();
  config.shard.data_address = data_address();
  config.shard.slot_count = static_cast<uint32_t>(model_->store().Snapshot()->slot_count());
  config.shard.zone = config_.zone;
  config.shard.slots_spare = static_cast<uint32_t>(model_->store().slots_spare());
  config.shard.burst = config_.slice.shard_id >= config_.slice.shard_count;
  config.secret = secret;
  config.tls = config_.tls;
  TESSERA_ASSIGN_OR_RETURN(auto registrar,
                           Registrar::Start(
                               config, [this](bool with_held) { return Report(with_held); },
                               [this](Epoch epoch) { batcher_->set_epoch(epoch); }));
  absl::MutexLock lock(&mutex_);
  registrar_ = std::move(registrar);
  return absl::OkStatus();
}

void ExpertShardServer::House::Compute(const std::stop_token& stop) {
  std::vector<IncomingCall> calls;
  while (!stop.stop_requested()) {
    const absl::Duration tick = closing_ ? kClosingTick : kTick;
    exchange_->Wait(batcher_->idle() ? tick : absl::ZeroDuration(), calls);
    batcher_->Add(calls);
    batcher_->RunBatch();
    if (closing_ && exchange_->calls_open() == 0 && !answered_.HasBeenNotified()) {
      answered_.Notify();
    }
  }
  batcher_->RefuseAll(wire::NackReason::kDraining);
}

// By who reads the metrics.
void ExpertShardServer::House::RefreshMetrics() {
  if (!measured_) return;
  gauges_.Set(*model_->store().Snapshot(), batcher_->load().BusyRatio(clock_.Elapsed()),
              *exchange_);
}

ShardReport ExpertShardServer::House::Report(bool with_held) const {
  const absl::Duration now = clock_.Elapsed();
  const auto table = model_->store().Snapshot();
  const BatchTotals totals = batcher_->totals();
  ShardReport report{.state = state_,
                     .held_version = table->version(),
                     .held = {},
                     .load = {.busy_ratio = batcher_->load().BusyRatio(now),
                              .queue_wait_median = batcher_->load().WaitMedian(now),
                              .rows_queued = batcher_->rows_queued(),
                              .calls_total = totals.calls,
                              .rows_total = totals.rows,
                              .resident_bytes = ResidentBytes()}};
  if (!with_held) return report;
  for (const HeldExpert* held : table->ByUnit()) {
    report.held.push_back({held->unit.layer, held->unit.expert, held->slot, held->weights_version});
  }
  return report;
}

std::vector<std::string> ExpertShardServer::House::NotReadyReasons() const {
  if (leaving_) return {"draining"};
  switch (state_.load()) {
    case wire::ShardState::kLoading:
      return {"weights are being loaded and checked"};
    case wire::ShardState::kDraining:
      return {"draining"};
    case wire::ShardState::kReady:
      break;
  }
  if (!WeightsSound()) return {"the checkpoint was changed under this process"};
  // A drawn id may be somebody else's; the others wait for their router, and it for them.
  if (config_.draw_shard_id && registered_count() == 0) return {"no router has taken this shard"};
  return {};
}

void ExpertShardServer::House::Stop() {
  if (std::exchange(stopped_, true)) return;
  const absl::Duration give_up = clock_.Elapsed() + config_.drain_max;
  leaving_ = true;
  rpc_->Drain();
  LeaveTheMap(give_up);
  state_ = wire::ShardState::kDraining;
  registrar_->Hurry();
  exchange_->Drain();
  closing_ = true;
  exchange_->Interrupt();
  if (!answered_.WaitForNotificationWithTimeout(
          std::max(give_up - clock_.Elapsed(), absl::Milliseconds(100)))) {
    TESSERA_LOG(WARNING) << exchange_->calls_open() << " calls are not answered any more";
  }
  Close();
}

// Routers let it go when others hold what it alone has. To them it is ready until then: what a
// heartbeat calls draining leaves the map at once. While nobody has room it stays and serves, as
// somebody may come.
void ExpertShardServer::House::LeaveTheMap(absl::Duration give_up) {
  if (registrar_->registered_count() == 0) return;
  RetryBudget budget({.retries_saved_max = std::numeric_limits<double>::max()});
  const auto pause = [](absl::Duration duration) {
    absl::Notification().WaitForNotificationWithTimeout(duration);
    return true;
  };
  const absl::Status left = Retry(
      {.attempts_max = std::numeric_limits<int>::max(), .pause_first = absl::Milliseconds(100)},
      {.clock = clock_, .budget = budget, .pause = pause}, give_up - clock_.Elapsed(),
      [this](int number, absl::Duration time_left) {
        const absl::Status status = registrar_->Drain(time_left);
        if (status.ok() || !absl::IsResourceExhausted(status)) {
          return absl::IsUnavailable(status) ? absl::AbortedError(status.message()) : status;
        }
        if (number == 0) TESSERA_LOG(WARNING) << "this shard stays for a while: " << status;
        return absl::UnavailableError(status.message());
      });
  if (!left.ok()) TESSERA_LOG(WARNING) << "the map still names this shard: " << left;
}

void ExpertShardServer::House::Close() {
  if (registrar_ != nullptr) registrar_->Stop();
  if (peers_ != nullptr) peers_->Stop();
  if (loader_ != nullptr) loader_->Stop();
  compute_.RequestStop();
  if (exchange_ != nullptr) exchange_->Interrupt();
  compute_.Stop();
  // Streams of the data plane over gRPC end with the exchange; the server would wait for them. Who
  // asks the control plane meanwhile finds rooms that still stand.
  if (exchange_ != nullptr) exchange_->Shut();
  if (rpc_ != nullptr) rpc_->Stop();
  if (admin_ != nullptr) admin_->Stop();
}

ExpertShardServer::ExpertShardServer(std::unique_ptr<House> house) : house_(std::move(house)) {}
ExpertShardServer::~ExpertShardServer() = default;

absl::StatusOr<std::unique_ptr<ExpertShardServer>> ExpertShardServer::Start(
    const ExpertShardConfig& config, const Clock& clock, ExpertShardParts parts) {
  auto house = std::make_unique<House>(config, clock);
  TESSERA_RETURN_IF_ERROR(house->Build(std::move(parts)));
  return std::unique_ptr<ExpertShardServer>(new ExpertShardServer(std::move(house)));
}

std::vector<std::pair<std::string, std::string>> ExpertShardServer::Endpoints() const {
  std::vector<std::pair<std::string, std::string>> endpoints = {{"grpc", grpc_address()},
                                                                {"data", data_address()}};
  if (!admin_address().empty()) endpoints.emplace_back("admin", admin_address());
  return endpoints;
}
void ExpertShardServer::Stop() { house_->Stop(); }
std::string ExpertShardServer::grpc_address() const { return house_->grpc_address(); }
std::string ExpertShardServer::data_address() const { return house_->data_address(); }
std::string ExpertShardServer::admin_address() const { return house_->admin_address(); }
uint64_t ExpertShardServer::incarnation() const { return house_->incarnation(); }
ExpertStore& ExpertShardServer::store() { return house_->store(); }
BatchTotals ExpertShardServer::totals() const { return house_->totals(); }
size_t ExpertShardServer::registered_count() const { return house_->registered_count(); }
std::vector<std::string> ExpertShardServer::NotReadyReasons() const {
  return house_->NotReadyReasons();
}

ServiceProgram BuildExpertShard() {
  SetUcxEnvironment();
  ServiceProgram program;
  program.name = "tessera-expert";
  program.config = ExpertShardDefaults();
  program.build =
      [clock = std::make_shared<RealClock>()](
          const google::protobuf::Message& message) -> absl::StatusOr<std::unique_ptr<Service>> {
    TESSERA_ASSIGN_OR_RETURN(const ExpertShardConfig config, ToExpertShardConfig(message));
    return ExpertShardServer::Start(WithDrawnId(config, FreshIncarnation()), *clock);
  };
  return program;
}

}  // namespace tessera::expert_shard
