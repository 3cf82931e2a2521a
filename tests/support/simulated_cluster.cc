#include "tests/support/simulated_cluster.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/concurrency/thread.h"

namespace tessera::testing {
namespace {

// No exchange may sleep: whoever waits moves the clock.
ExchangeConfig ByHand() {
  ExchangeConfig config;
  config.progress.thread = false;
  return config;
}

// Timers of the exchange (pings) are looked at so often.
constexpr absl::Duration kTick = absl::Milliseconds(5);

}  // namespace

void WavyExpert(LayerIndex layer, ExpertId expert, std::span<const float> row, float weight,
                std::span<float> out) {
  const auto e = static_cast<float>(ToIndex(expert) + 1);
  const size_t shift = ToIndex(layer) + ToIndex(expert);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = weight * (std::sin(e * row[i]) + row[(i + shift) % row.size()] / e);
  }
}

SimulatedShard::SimulatedShard(ShardId id, const SimulatedClusterConfig& config, FakeClock& clock,
                               LoopbackNetwork& network)
    : id_(id), config_(config), clock_(clock), network_(network) {}

SimulatedShard::~SimulatedShard() { Stop(); }

std::string SimulatedShard::name() const { return absl::StrCat("shard-", ToIndex(id_)); }

void SimulatedShard::Start() {
  Stop();
  const uint64_t incarnation = ++incarnation_;
  const uint32_t credits = config_.credits;
  server_ = std::make_unique<ExchangeServer>(
      ByHand(), clock_, network_.MakeTransport(),
      [incarnation, credits](const wire::Hello& theirs) -> absl::StatusOr<wire::Hello> {
        wire::Hello answer = theirs;
        answer.credits = credits;
        answer.incarnation = incarnation;
        return answer;
      });
  TESSERA_CHECK(server_->Listen(name()).ok());
}

void SimulatedShard::Stop() {
  jobs_.clear();
  arrived_.clear();
  server_ = nullptr;
}

wire::NackReason SimulatedShard::Check(const wire::CallView& call) const {
  for (const wire::CallSegment& segment : call.segments) {
    const auto it = units.find({LayerIndex{call.header.layer}, segment.expert});
    if (it == units.end() || it->second.slot != segment.slot) return wire::NackReason::kNotHosted;
    if (it->second.version != segment.weights_version) return wire::NackReason::kWrongVersion;
  }
  return wire::NackReason::kNone;
}

bool SimulatedShard::Pump(absl::Duration timeout) {
  if (server_ == nullptr) return false;
  server_->Wait(timeout, arrived_);
  const absl::Duration now = clock_.Elapsed();
  for (IncomingCall& call : arrived_) {
    seen.push_back(call.call.header);
    traces.push_back(call.call.trace);
    jobs_.push_back({now + compute.value_or(config_.compute), std::move(call)});
  }
  arrived_.clear();
  bool answered = false;
  for (size_t i = 0; i < jobs_.size();) {
    if (jobs_[i].due > now) {
      ++i;
      continue;
    }
    IncomingCall call = std::move(jobs_[i].call);
    jobs_.erase(jobs_.begin() + static_cast<ptrdiff_t>(i));
    Answer(std::move(call));
    answered = true;
  }
  return answered;
}

void SimulatedShard::Answer(IncomingCall call) {
  wire::NackReason reason = Check(call.call);
  if (!refuse_next.empty()) {
    reason = refuse_next.front();
    refuse_next.pop_front();
  }
  const Epoch epoch = call.call.header.epoch;
  if (reason != wire::NackReason::kNone) return server_->Nack(std::move(call), reason, epoch);
  Compute(call);
  ++calls_computed;
  wire::ReplyTrailer trailer;
  trailer.compute_us = 100;
  trailer.experts_touched = static_cast<uint32_t>(call.call.segments.size());
  server_->Reply(std::move(call), trailer);
}

void SimulatedShard::Compute(const IncomingCall& incoming) {
  const wire::CallView& call = incoming.call;
  const wire::MutableRows out = incoming.reply_rows();
  const bool strict = call.header.has(wire::kStrict);
  std::vector<float> row(out.d_model);
  std::vector<float> y(out.d_model);
  std::vector<std::vector<float>> sums(call.rows.rows);
  size_t pair = 0;
  for (const wire::CallSegment& segment : call.segments) {
    for (const size_t last = pair + segment.pair_count; pair < last; ++pair) {
      call.rows.ReadRow(call.pair_rows[pair], row);
      config_.expert(LayerIndex{call.header.layer}, segment.expert, row, call.pair_weights[pair],
                     y);
      std::vector<float>& sum = sums[call.pair_rows[pair]];
      if (strict) {
        out.WriteRow(pair, y);
      } else if (sum.empty()) {
        sum = y;
      } else {
        for (size_t i = 0; i < y.size(); ++i) sum[i] += y[i];
      }
    }
  }
  for (size_t i = 0; i < sums.size() && !strict; ++i) out.WriteRow(i, sums[i]);
}

absl::Duration SimulatedShard::NextDue() const {
  absl::Duration due = absl::InfiniteDuration();
  for (const Job& job : jobs_) due = std::min(due, job.due);
  return due;
}

SimulatedCluster::SimulatedCluster(const SimulatedClusterConfig& config)
    : config_(config), network_(LoopbackNetwork::Create(clock_, config.seed)) {
  exchange_ = std::make_unique<ExchangeClient>(ByHand(), clock_, network_->MakeTransport());
  links_.resize(config_.shard_count);
  hangs_.resize(config_.shard_count);
  for (uint32_t s = 0; s < config_.shard_count; ++s) {
    shards_.push_back(std::make_unique<SimulatedShard>(ShardId{s}, config_, clock_, *network_));
  }
  const size_t experts = config_.geometry.expert_count;
  for (uint32_t layer = 0; layer < config_.layer_count; ++layer) {
    for (uint32_t e = 0; e < experts; ++e) {
      const size_t base = e * config_.shard_count / experts;
      for (size_t r = 0; r < std::min(config_.replicas, config_.shard_count); ++r) {
        AddCopy(LayerIndex{layer}, ExpertId{e}, (base + r) % config_.shard_count);
      }
    }
  }
  for (size_t s = 0; s < config_.shard_count; ++s) {
    shards_[s]->Start();
    Connect(s);
  }
  Publish();
}

SimulatedCluster::~SimulatedCluster() { exchange_ = nullptr; }

void SimulatedCluster::AddCopy(LayerIndex layer, ExpertId expert, size_t shard) {
  uint32_t slot = 0;
  for (const auto& [key, unit] : shards_[shard]->units) slot = std::max(slot, unit.slot + 1);
  slot = shards_[shard]
             ->units.try_emplace({layer, expert}, SimulatedShard::Unit{slot, 1})
             .first->second.slot;
  placed_.push_back({layer, expert, {ShardId{static_cast<uint32_t>(shard)}, slot, 1}});
  ++epoch_;
}

void SimulatedCluster::RemoveFromPlacement(LayerIndex layer, ExpertId expert, size_t shard) {
  std::erase_if(placed_, [&](const PlacedUnit& unit) {
    return unit.layer == layer && unit.expert == expert && ToIndex(unit.replica.shard) == shard;
  });
  ++epoch_;
}

void SimulatedCluster::Publish() {
  auto view = std::make_shared<router::ClusterView>();
  view->version = ++version_;
  auto placement = Placement::Build(Epoch{epoch_},
                                    {config_.layer_count, config_.geometry.expert_count}, placed_);
  TESSERA_CHECK(placement.ok());
  view->placement = *std::move(placement);
  view->links = links_;
  view_ = std::move(view);
  view_changed_ = true;
}

void SimulatedCluster::Connect(size_t i) {
  wire::Hello hello;
  hello.session = 1;
  hello.incarnation = 1;
  hello.geometry = config_.geometry;
  hello.credits = config_.credits;
  absl::StatusOr<PeerId> peer = absl::UnknownError("");
  std::atomic<bool> connected = false;
  // Connect waits, so another thread does. The clock stands still meanwhile.
  Thread connecting("connect", [&](std::stop_token) {
    peer = exchange_->Connect(shards_[i]->name(), hello, absl::Seconds(10));
    connected = true;
    if (shards_[i]->running()) shards_[i]->server().Interrupt();
  });
  while (shards_[i]->running() && !connected) shards_[i]->Pump(absl::Seconds(10));
  connecting.Join();
  if (!peer.ok()) return;
  const auto greeting = exchange_->GreetingOf(*peer);
  TESSERA_CHECK(greeting.ok());
  links_[i] = {ShardId{static_cast<uint32_t>(i)}, greeting->incarnation, *peer, config_.geometry};
}

void SimulatedCluster::Hang(size_t i) {
  hangs_[i] = true;
  network_->Hang(shards_[i]->name());
}

void SimulatedCluster::Resume(size_t i) {
  hangs_[i] = false;
  network_->Resume(shards_[i]->name());
}

void SimulatedCluster::Reconnect(size_t i) {
  if (hangs_[i]) {  // it would not answer the greeting
    return At(clock_.Elapsed() + config_.reconnect_after, [this, i] { Reconnect(i); });
  }
  Connect(i);
  if (!links_[i]) {  // it died
    shards_[i]->Start();
    Connect(i);
  }
  Publish();
}

void SimulatedCluster::ReportDown(PeerId peer, const absl::Status& /*why*/) {
  for (size_t i = 0; i < links_.size(); ++i) {
    if (!links_[i] || links_[i]->peer != peer) continue;
    ++downs_reported;
    links_[i].reset();
    Publish();
    if (config_.reconnect_after != absl::InfiniteDuration()) {
      At(clock_.Elapsed() + config_.reconnect_after, [this, i] { Reconnect(i); });
    }
  }
}

void SimulatedCluster::RequestUnits(LayerIndex layer, std::span<const ExpertId> experts,
                                    std::span<const ShardId> unfit) {
  ++units_requested;
  for (const ExpertId expert : experts) {
    requested.emplace_back(layer, expert);
    if (config_.load_after == absl::InfiniteDuration()) continue;
    if (std::exchange(loading_[{layer, expert}], true)) continue;
    At(clock_.Elapsed() + config_.load_after,
       [this, layer, expert, avoid = std::vector<ShardId>(unfit.begin(), unfit.end())] {
         Load(layer, expert, avoid);
       });
  }
}

void SimulatedCluster::Load(LayerIndex layer, ExpertId expert, const std::vector<ShardId>& unfit) {
  loading_[{layer, expert}] = false;
  for (size_t i = 0; i < shards_.size(); ++i) {
    const ShardId shard{static_cast<uint32_t>(i)};
    if (!links_[i] || std::find(unfit.begin(), unfit.end(), shard) != unfit.end()) continue;
    const bool is_placed = std::any_of(placed_.begin(), placed_.end(), [&](const PlacedUnit& unit) {
      return unit.layer == layer && unit.expert == expert && unit.replica.shard == shard;
    });
    if (!is_placed) AddCopy(layer, expert, i);
    return Publish();
  }
}

void SimulatedCluster::At(absl::Duration when, std::function<void()> action) {
  actions_.emplace(when, std::move(action));
}

bool SimulatedCluster::PumpAll() {
  bool moved = false;
  while (!actions_.empty() && actions_.begin()->first <= clock_.Elapsed()) {
    auto node = actions_.extract(actions_.begin());
    node.mapped()();
    moved = true;
  }
  for (auto& shard : shards_) moved |= shard->Pump();
  return moved;
}

absl::Duration SimulatedCluster::NextDue() const {
  absl::Duration due = std::min(network_->NextArrival(), clock_.Elapsed() + kTick);
  if (!actions_.empty()) due = std::min(due, actions_.begin()->first);
  for (const auto& shard : shards_) due = std::min(due, shard->NextDue());
  return due;
}

void SimulatedCluster::Wait(absl::Duration timeout, std::vector<ExchangeEvent>& events) {
  const absl::Duration end = clock_.Elapsed() + timeout;
  for (;;) {
    const bool moved = PumpAll();
    exchange_->Wait(absl::ZeroDuration(), events);
    if (!events.empty() || std::exchange(view_changed_, false)) return;
    const absl::Duration now = clock_.Elapsed();
    if (now >= end) return;
    if (moved) continue;
    // Memory given back arrives without waking anybody: at least a microsecond passes.
    const absl::Duration next = std::max(NextDue(), now + absl::Microseconds(1));
    clock_.Advance(std::min(next, end) - now);
  }
}

void SimulatedCluster::Pass(absl::Duration time) {
  const absl::Duration end = clock_.Elapsed() + time;
  while (clock_.Elapsed() < end) {
    PumpAll();
    const absl::Duration now = clock_.Elapsed();
    clock_.Advance(std::min(std::max(NextDue() - now, absl::Milliseconds(1)), end - now));
  }
  PumpAll();
}

}  // namespace tessera::testing
