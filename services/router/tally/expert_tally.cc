#include "services/router/tally/expert_tally.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace tessera::router {
namespace {

constexpr size_t kLayersMax = 65536;

int64_t SecondOf(absl::Duration now) { return absl::ToInt64Seconds(now); }

// There is one writer: no other increment can fall between the two.
template <typename T>
void AddTo(std::atomic<T>& counter, T more) {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

template <typename T>
std::vector<T> Read(const std::vector<std::atomic<T>>& counters) {
  std::vector<T> values;
  values.reserve(counters.size());
  for (const auto& counter : counters) values.push_back(counter.load(std::memory_order_relaxed));
  return values;
}

}  // namespace

ExpertTally::ExpertTally(std::vector<LayerIndex> layers, size_t expert_count)
    : layers_(std::move(layers)),
      expert_count_(expert_count),
      pending_(layers_.size() * expert_count),
      spread_(layers_.size()),
      counts_(layers_.size() * expert_count),
      touches_(layers_.size() * expert_count),
      steps_(layers_.size()),
      spread_steps_(layers_.size()),
      step_balances_(layers_.size()) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const size_t layer = ToIndex(layers_[i]);
    TESSERA_CHECK(layer < kLayersMax);
    if (layer >= place_of_layer_.size()) place_of_layer_.resize(layer + 1);
    place_of_layer_[layer] = i;
  }
}

void ExpertTally::CountRouting(LayerIndex layer, std::span<const uint32_t> experts) {
  has_pending_ = true;
  const auto first =
      pending_.begin() + static_cast<ptrdiff_t>(place_of_layer_[ToIndex(layer)] * expert_count_);
  std::fill_n(first, expert_count_, 0u);
  for (const uint32_t expert : experts) ++first[expert];
}

ExpertTally::ShardRow& ExpertTally::RowOf(ShardId shard) {
  const size_t index = ToIndex(shard);
  if (index >= rows_by_shard_.size()) rows_by_shard_.resize(index + 1);
  if (rows_by_shard_[index] == nullptr) {
    auto row = std::make_unique<ShardRow>(shard, layers_.size());
    rows_by_shard_[index] = row.get();
    absl::MutexLock lock(&mutex_);
    const auto place = std::find_if(shards_.begin(), shards_.end(),
                                    [&](const auto& other) { return other->shard > shard; });
    shards_.insert(place, std::move(row));
  }
  return *rows_by_shard_[index];
}

void ExpertTally::CountAnswer(const AnsweredCall& call) {
  has_pending_ = true;
  ShardRow& row = RowOf(call.shard);
  row.has_pending = true;
  const size_t place = place_of_layer_[ToIndex(call.layer)];
  row.pending[place] += call.pairs;
  row.pending_experts[place] += call.experts;
}

void ExpertTally::CommitRouting(int64_t second) {
  counts_.Begin(second);
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    bool any = false;
    for (size_t i = layer * expert_count_; i < (layer + 1) * expert_count_; ++i) {
      if (pending_[i] == 0) continue;
      counts_.Add(i, std::exchange(pending_[i], 0));
      AddTo<uint64_t>(touches_[i], 1);
      any = true;
    }
    if (any) AddTo<uint64_t>(steps_[layer], 1);
  }
}

void ExpertTally::CommitShards(int64_t second) {
  std::fill(spread_.begin(), spread_.end(), LayerSpread{});
  for (ShardRow* row : rows_by_shard_) {
    if (row == nullptr || !std::exchange(row->has_pending, false)) continue;
    row->counts.Begin(second);
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      const uint32_t pairs = std::exchange(row->pending[layer], 0);
      if (pairs == 0) continue;
      row->counts.Add(layer, pairs);
      AddTo<uint64_t>(row->experts[layer], std::exchange(row->pending_experts[layer], 0));
      spread_[layer].sum += pairs;
      spread_[layer].most = std::max<uint64_t>(spread_[layer].most, pairs);
      ++spread_[layer].shards;
    }
  }
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const LayerSpread& spread = spread_[layer];
    if (spread.most == 0) continue;
    const size_t shards = std::max(shard_count_, spread.shards);
    AddTo<uint64_t>(spread_steps_[layer], 1);
    AddTo(step_balances_[layer],
          static_cast<double>(spread.sum) / static_cast<double>(spread.most * shards));
  }
}

void ExpertTally::Commit(absl::Duration now) {
  if (!std::exchange(has_pending_, false)) return;
  CommitRouting(SecondOf(now));
  CommitShards(SecondOf(now));
}

void ExpertTally::Abort() {
  if (!std::exchange(has_pending_, false)) return;
  std::fill(pending_.begin(), pending_.end(), 0u);
  for (ShardRow* row : rows_by_shard_) {
    if (row == nullptr || !std::exchange(row->has_pending, false)) continue;
    std::fill(row->pending.begin(), row->pending.end(), 0u);
    std::fill(row->pending_experts.begin(), row->pending_experts.end(), 0u);
  }
}

template <typename Read>
ExpertTally::Counts ExpertTally::ReadAll(const Read& read) const {
  Counts all;
  all.rows = read(counts_);
  absl::MutexLock lock(&mutex_);
  for (const auto& row : shards_) all.shards.push_back({row->shard, read(row->counts), {}});
  return all;
}

ExpertTally::Counts ExpertTally::Window(absl::Duration now) const {
  return ReadAll([now](const RollingCounts& counts) { return counts.Window(SecondOf(now)); });
}

ExpertTally::Counts ExpertTally::Totals() const {
  Counts all = ReadAll([](const RollingCounts& counts) { return counts.Totals(); });
  absl::MutexLock lock(&mutex_);
  for (ShardCounts& shard : all.shards) {
    const auto row = std::ranges::find(shards_, shard.shard, &ShardRow::shard);
    shard.layer_experts = Read((*row)->experts);
  }
  return all;
}

ExpertTally::StepCounts ExpertTally::Steps() const {
  return {counts_.Totals(), Read(touches_), Read(steps_)};
}

ExpertTally::Spread ExpertTally::ReadSpread() const {
  Spread spread{.steps = Read(spread_steps_), .step_balances = Read(step_balances_)};
  absl::MutexLock lock(&mutex_);
  for (const auto& row : shards_) {
    spread.shards.push_back({row->shard, row->counts.Totals(), Read(row->experts)});
  }
  return spread;
}

Balance BalanceOf(std::span<const uint64_t> work) {
  double sum = 0;
  double squares = 0;
  double most = 0;
  for (const uint64_t count : work) {
    const auto value = static_cast<double>(count);
    sum += value;
    squares += value * value;
    most = std::max(most, value);
  }
  if (sum == 0) return {};
  const auto size = static_cast<double>(work.size());
  return {.mean_to_max = sum / size / most,
          .max_to_mean = most / (sum / size),
          .jain_index = sum * sum / (size * squares)};
}

}  // namespace tessera::router
