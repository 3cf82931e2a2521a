#include "services/router/balance/balance_planner.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "common/base/check.h"

namespace tessera::router {
namespace {

constexpr size_t kTargets = 8;           // little loaded shards looked at in one change
constexpr size_t kTries = 12;            // of the best changes, until one finds room
constexpr double kSlotPrice = 0.01;      // of the mean: what a copy must gain more than a move
constexpr double kSameZonePrice = 0.02;  // of the mean
constexpr uint32_t kNobody = UINT32_MAX;
constexpr double kColdShare = 0.25;  // of a layer's mean: what may be moved to make room

// One plan being made.
class Search {
 public:
  Search(const BalanceProblem& problem, const BalanceOptions& options)
      : options_(options), problem_(problem), board_(problem) {
    for (uint32_t s = 0; s < board_.shard_count(); ++s) {
      const double kept = options.slots_kept_free * board_.shard(s).slot_count;
      kept_free_.push_back(static_cast<int64_t>(std::ceil(kept)));
    }
  }

  BalancePlan Run() {
    plan_.before = board_.balance();
    std::vector<bool> done(board_.layer_count());
    // Each change takes at least gain_min from a peak; this only guards against rounding.
    size_t changes_left = 8 * (problem_.cost.size() + board_.shard_count());
    while (plan_.loads < options_.loads_max && changes_left-- > 0) {
      std::optional<size_t> worst;
      double lowest = options_.target;
      for (size_t layer = 0; layer < board_.layer_count(); ++layer) {
        if (done[layer] || board_.balance(layer) >= lowest) continue;
        worst = layer;
        lowest = board_.balance(layer);
      }
      if (!worst) break;
      if (!Improve(*worst)) done[*worst] = true;
    }
    plan_.after = board_.balance();
    return std::move(plan_);
  }

 private:
  struct Change {
    double peak = 0;  // of the two shards afterwards, with prices
    uint32_t unit = 0;
    uint32_t from = 0;
    uint32_t to = 0;
    bool move = false;
  };

  BalanceMove MoveOf(BalanceMove::Kind kind, uint32_t unit, uint32_t from, uint32_t to) const {
    const size_t experts = problem_.shape.expert_count;
    BalanceMove move{kind, LayerIndex{static_cast<uint32_t>(unit / experts)},
                     ExpertId{static_cast<uint32_t>(unit % experts)}};
    if (kind != BalanceMove::Kind::kCopy) move.from = board_.shard(from).shard;
    if (kind != BalanceMove::Kind::kDrop) move.to = board_.shard(to).shard;
    return move;
  }
  void DoCopy(uint32_t unit, uint32_t to) {
    board_.Add(unit, to);
    placed_.insert({unit, to});
    ++plan_.loads;
    plan_.moves.push_back(MoveOf(BalanceMove::Kind::kCopy, unit, to, to));
  }
  void DoMove(uint32_t unit, uint32_t from, uint32_t to) {
    board_.Add(unit, to);
    board_.Remove(unit, from);
    placed_.insert({unit, to});
    ++plan_.loads;
    plan_.moves.push_back(MoveOf(BalanceMove::Kind::kMove, unit, from, to));
  }
  void DoDrop(uint32_t unit, uint32_t from) {
    board_.Remove(unit, from);
    plan_.moves.push_back(MoveOf(BalanceMove::Kind::kDrop, unit, from, from));
  }

  bool Improve(size_t layer) {
    const std::optional<uint32_t> hottest = Hottest(layer);
    if (!hottest) return false;
    const std::vector<uint32_t> targets = Coolest(layer, *hottest);
    std::vector<Change> changes;
    for (const uint32_t unit : board_.units_at(layer, *hottest)) {
      Consider(layer, unit, *hottest, targets, changes);
    }
    const size_t tries = std::min(changes.size(), kTries);
    std::partial_sort(changes.begin(), changes.begin() + static_cast<ptrdiff_t>(tries),
                      changes.end(),
                      [](const Change& a, const Change& b) { return a.peak < b.peak; });
    changes.resize(tries);
    return std::any_of(changes.begin(), changes.end(),
                       [this](const Change& change) { return Apply(change); });
  }

  std::optional<uint32_t> Hottest(size_t layer) const {
    std::optional<uint32_t> hottest;
    for (uint32_t s = 0; s < board_.shard_count(); ++s) {
      if (!hottest || board_.load(layer, s) > board_.load(layer, *hottest)) hottest = s;
    }
    return hottest;
  }

  std::vector<uint32_t> Coolest(size_t layer, uint32_t besides) const {
    std::vector<uint32_t> shards;
    for (uint32_t s = 0; s < board_.shard_count(); ++s) {
      if (s != besides && board_.shard(s).usable) shards.push_back(s);
    }
    const size_t count = std::min(kTargets, shards.size());
    std::partial_sort(shards.begin(), shards.begin() + static_cast<ptrdiff_t>(count), shards.end(),
                      [&](uint32_t a, uint32_t b) {
                        return std::pair(board_.load(layer, a), a) <
                               std::pair(board_.load(layer, b), b);
                      });
    shards.resize(count);
    return shards;
  }

  bool SharesZone(uint32_t unit, uint32_t from, uint32_t to, bool move) const {
    const std::string& zone = board_.shard(to).zone;
    if (zone.empty()) return false;
    return std::ranges::any_of(board_.copies(unit), [&](const BalanceBoard::Copy& copy) {
      return !(move && copy.shard == from) && board_.shard(copy.shard).zone == zone;
    });
  }

  // What copying or moving `unit` from the hottest shard would do.
  void Consider(size_t layer, uint32_t unit, uint32_t from, const std::vector<uint32_t>& targets,
                std::vector<Change>& changes) const {
    const double carried = board_.Carried(unit, from);
    const double peak = board_.load(layer, from);
    const double mean = board_.mean(layer);
    const double good_enough = peak - options_.gain_min * mean;
    if (carried <= options_.gain_min * mean) return;
    for (const uint32_t to : targets) {
      if (board_.Holds(unit, to)) continue;
      const double there = board_.load(layer, to);
      const double shared = std::min(carried, (peak - there) / 2);
      const double as_copy = std::max(peak - shared, there + shared) + kSlotPrice * mean +
                             SharesZone(unit, from, to, false) * kSameZonePrice * mean;
      if (as_copy < good_enough) changes.push_back({as_copy, unit, from, to, false});
      if (placed_.contains({unit, from}) || !MayMove(unit, from, to)) continue;
      const double as_move = std::max(peak - carried, there + carried) +
                             SharesZone(unit, from, to, true) * kSameZonePrice * mean;
      if (as_move < good_enough) changes.push_back({as_move, unit, from, to, true});
    }
  }

  // While it moves, a unit keeps the copies it must have: with one more than it has now, one goes.
  // A base copy is not replaced by one that may go at any time.
  bool MayMove(uint32_t unit, uint32_t from, uint32_t to) const {
    if (!board_.shard(from).usable) return false;
    if (!board_.IsBase(from)) return board_.copies(unit).size() >= options_.copies_min;
    if (!board_.IsBase(to)) return board_.MayRemove(unit, from, options_.copies_min);
    return board_.LastingCopies(unit, /*besides=*/kNobody) >= options_.copies_min;
  }

  int64_t Room(uint32_t shard) const { return board_.free_slots(shard) - kept_free_[shard]; }

  bool Apply(const Change& change) {
    if (Room(change.to) <= 0 && !MakeRoom(change)) return false;
    if (change.move) {
      DoMove(change.unit, change.from, change.to);
    } else {
      DoCopy(change.unit, change.to);
    }
    return true;
  }

  // A copy that hardly carries anything goes; else, for a move, a cold unit goes the other way.
  bool MakeRoom(const Change& change) {
    const std::vector<uint32_t> coldest = ColdestAt(change.to);
    for (const uint32_t unit : coldest) {
      if (!IsIdleCopy(unit, change.to)) continue;
      DoDrop(unit, change.to);
      if (Room(change.to) > 0) return true;
    }
    if (!change.move || plan_.loads + 2 > options_.loads_max) return false;
    if (Room(change.to) < 0) return false;
    if (options_.live && board_.free_slots(change.from) < 1) return false;
    if (!options_.live && board_.free_slots(change.from) < 0) return false;
    for (const uint32_t unit : coldest) {
      if (!CanGoBack(unit, change)) continue;
      DoMove(unit, change.to, change.from);
      return true;
    }
    return false;
  }

  // Units at a shard, those that cost least for their layer first.
  std::vector<uint32_t> ColdestAt(uint32_t shard) const {
    std::vector<std::pair<double, uint32_t>> units;
    for (size_t layer = 0; layer < board_.layer_count(); ++layer) {
      const double mean = std::max(board_.mean(layer), 1e-12);
      for (const uint32_t unit : board_.units_at(layer, shard)) {
        const double carried = board_.Carried(unit, shard) / mean;
        if (carried < kColdShare) units.emplace_back(carried, unit);
      }
    }
    const size_t count = std::min<size_t>(units.size(), 32);
    std::partial_sort(units.begin(), units.begin() + static_cast<ptrdiff_t>(count), units.end());
    std::vector<uint32_t> coldest;
    for (size_t i = 0; i < count; ++i) coldest.push_back(units[i].second);
    return coldest;
  }

  bool IsIdleCopy(uint32_t unit, uint32_t shard) const {
    if (placed_.contains({unit, shard})) return false;
    if (!board_.MayRemove(unit, shard, options_.copies_min)) return false;
    return board_.Carried(unit, shard) <= options_.gain_min * board_.mean(board_.LayerOf(unit));
  }

  // `unit` may take the way opposite to the change's and makes no layer's peak higher.
  bool CanGoBack(uint32_t unit, const Change& change) const {
    if (unit == change.unit || placed_.contains({unit, change.to})) return false;
    if (board_.Holds(unit, change.from) || !MayMove(unit, change.to, change.from)) return false;
    const size_t layer = board_.LayerOf(unit);
    const double carried = board_.Carried(unit, change.to);
    if (layer != board_.LayerOf(change.unit)) {
      const double limit = std::max(board_.mean(layer) / options_.target,
                                    board_.peak(layer) - options_.gain_min * board_.mean(layer));
      return board_.load(layer, change.from) + carried <= limit;
    }
    const double gone = board_.Carried(change.unit, change.from) - carried;
    const double peak =
        std::max(board_.load(layer, change.from) - gone, board_.load(layer, change.to) + gone);
    return peak <= board_.load(layer, change.from) - options_.gain_min * board_.mean(layer);
  }

  const BalanceOptions& options_;
  const BalanceProblem& problem_;
  BalanceBoard board_;
  std::vector<int64_t> kept_free_;                  // [shards]
  std::set<std::pair<uint32_t, uint32_t>> placed_;  // (unit, shard) of this plan: stays there
  BalancePlan plan_;
};

}  // namespace

BalancePlan PlanBalance(const BalanceProblem& problem, const BalanceOptions& options) {
  TESSERA_CHECK(options.copies_min >= 1);
  return Search(problem, options).Run();
}

}  // namespace tessera::router
