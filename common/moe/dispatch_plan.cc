#include "common/moe/dispatch_plan.h"

#include <algorithm>
#include <cstddef>

#include "common/base/check.h"
#include "common/base/random.h"

namespace tessera {
namespace {

constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();

}  // namespace

// Tables by expert and by shard, filled in the order of the methods.
class DispatchPlanner::Tables {
 public:
  void Begin(LayerIndex layer, const RoutingView& routing, const Placement& placement,
             const ReplicaChoice& choice) {
    routing_ = routing;
    choice_ = choice;
    layer_ = layer;
    placement_ = &placement;
    experts_.assign(placement.shape().expert_count, {});
    shards_.assign(placement.shard_bound(), {});
  }

  void CountPairs() {
    for (const uint32_t expert : routing_.experts) {
      TESSERA_CHECK(expert < experts_.size());
      ++experts_[expert].pair_count;
    }
  }

  void ChooseReplicas(std::vector<ExpertId>& homeless) {
    open_.clear();
    for (uint32_t e = 0; e < experts_.size(); ++e) {
      if (experts_[e].pair_count == 0) continue;
      Candidates(e);
      if (candidates_.empty()) {
        homeless.push_back(ExpertId{e});
      } else if (candidates_.size() == 1) {
        Assign(e, candidates_[0]);
      } else {
        open_.push_back(e);
      }
    }
    if (open_.empty()) return;
    MarkRows();
    // Those with most pairs first: the small ones even out what is left.
    std::ranges::sort(open_, [this](uint32_t a, uint32_t b) {
      const uint32_t pairs_a = experts_[a].pair_count;
      const uint32_t pairs_b = experts_[b].pair_count;
      return pairs_a != pairs_b ? pairs_a > pairs_b : a < b;
    });
    for (const uint32_t e : open_) ChooseAmong(e);
  }

  void Fill(DispatchPlan& plan) {
    size_t used = 0;
    for (uint32_t s = 0; s < shards_.size(); ++s) {
      if (shards_[s].expert_count > 0) shards_[s].index = static_cast<uint32_t>(used++);
    }
    // Plans that are not needed now keep their memory for a layer that does.
    while (plan.shards.size() > used) {
      spare_.push_back(std::move(plan.shards.back()));
      plan.shards.pop_back();
    }
    while (plan.shards.size() < used) {
      plan.shards.push_back(spare_.empty() ? ShardPlan() : std::move(spare_.back()));
      if (!spare_.empty()) spare_.pop_back();
    }
    for (uint32_t s = 0; s < shards_.size(); ++s) {
      if (shards_[s].index == kNowhere) continue;
      ShardPlan& shard = plan.shards[shards_[s].index];
      shard.shard = ShardId{s};
      shard.rows.clear();
      shard.segments.clear();
    }
    FillSegments(plan);
    FillPairs(plan);
  }

 private:
  struct ExpertPart {
    uint32_t pair_count = 0;
    uint32_t shard = kNowhere;
    uint32_t slot = 0;
    uint64_t weights_version = 0;
    uint32_t next_pair = 0;  // where its next pair goes in the shard's lists
  };
  struct ShardPart {
    uint32_t expert_count = 0;
    uint64_t work_rows = 0;  // what its experts and their pairs cost it
    uint32_t pair_count = 0;
    uint32_t index = kNowhere;     // in plan.shards
    uint32_t last_row = kNowhere;  // last row of the step put on its list
  };

  uint32_t Outstanding(ShardId shard) const {
    const size_t i = ToIndex(shard);
    return i < choice_.outstanding_rows.size() ? choice_.outstanding_rows[i] : 0;
  }

  void Candidates(uint32_t expert) {
    candidates_.clear();
    for (const Replica& r : placement_->replicas(layer_, ExpertId{expert})) {
      if (Outstanding(r.shard) != kShardUnusable) candidates_.push_back(r);
    }
  }

  void Assign(uint32_t expert, const Replica& replica) {
    experts_[expert].shard = static_cast<uint32_t>(ToIndex(replica.shard));
    experts_[expert].slot = replica.slot;
    experts_[expert].weights_version = replica.weights_version;
    ShardPart& shard = shards_[ToIndex(replica.shard)];
    ++shard.expert_count;
    shard.work_rows += uint64_t{choice_.expert_rows} + experts_[expert].pair_count;
  }

  // Notes for every shard which rows the experts assigned so far bring there.
  void MarkRows() {
    marked_.assign(shards_.size() * routing_.rows, false);
    for (size_t row = 0; row < routing_.rows; ++row) {
      for (const uint32_t e : routing_.experts_of(row)) {
        if (experts_[e].shard != kNowhere) Mark(experts_[e].shard, row);
      }
    }
    if (rows_of_.size() < experts_.size()) rows_of_.resize(experts_.size());
    for (const uint32_t e : open_) rows_of_[e].clear();
    for (size_t row = 0; row < routing_.rows; ++row) {
      for (const uint32_t e : routing_.experts_of(row)) {
        if (experts_[e].shard == kNowhere) rows_of_[e].push_back(static_cast<uint32_t>(row));
      }
    }
  }

  void Mark(uint32_t shard, size_t row) { marked_[shard * routing_.rows + row] = true; }

  uint64_t Cost(uint32_t expert, const Replica& replica) const {
    const size_t shard = ToIndex(replica.shard);
    uint64_t cost = Outstanding(replica.shard) + shards_[shard].work_rows;
    if (shard < choice_.ahead_rows.size()) cost += choice_.ahead_rows[shard];
    for (const uint32_t row : rows_of_[expert]) cost += !marked_[shard * routing_.rows + row];
    return cost;
  }

  void ChooseAmong(uint32_t expert) {
    Candidates(expert);
    const uint64_t bits = RandomBits(choice_.seed, expert);
    const size_t count = candidates_.size();
    const size_t first = bits % count;
    const size_t second = (first + 1 + (bits >> 32) % (count - 1)) % count;
    const bool take_first =
        Cost(expert, candidates_[first]) <= Cost(expert, candidates_[second]);  // tie: the draw
    const Replica& chosen = candidates_[take_first ? first : second];
    Assign(expert, chosen);
    for (const uint32_t row : rows_of_[expert]) {
      Mark(static_cast<uint32_t>(ToIndex(chosen.shard)), row);
    }
  }

  void FillSegments(DispatchPlan& plan) {
    for (uint32_t e = 0; e < experts_.size(); ++e) {
      ExpertPart& part = experts_[e];
      if (part.shard == kNowhere) continue;
      ShardPart& shard = shards_[part.shard];
      part.next_pair = shard.pair_count;
      shard.pair_count += part.pair_count;
      plan.shards[shard.index].segments.push_back(
          {ExpertId{e}, part.slot, part.weights_version, part.pair_count});
    }
    for (const ShardPart& shard : shards_) {
      if (shard.index == kNowhere) continue;
      plan.shards[shard.index].pair_rows.resize(shard.pair_count);
      plan.shards[shard.index].pair_weights.resize(shard.pair_count);
    }
  }

  // Rows come in ascending order, so each segment's pairs do too: a counting sort by expert.
  void FillPairs(DispatchPlan& plan) {
    for (size_t row = 0; row < routing_.rows; ++row) {
      const auto experts = routing_.experts_of(row);
      const auto weights = routing_.weights_of(row);
      for (size_t k = 0; k < experts.size(); ++k) {
        ExpertPart& part = experts_[experts[k]];
        if (part.shard == kNowhere) continue;
        ShardPart& shard = shards_[part.shard];
        ShardPlan& out = plan.shards[shard.index];
        if (shard.last_row != row) {
          shard.last_row = static_cast<uint32_t>(row);
          out.rows.push_back(shard.last_row);
        }
        out.pair_rows[part.next_pair] = static_cast<uint32_t>(out.rows.size() - 1);
        out.pair_weights[part.next_pair] = weights[k];
        ++part.next_pair;
      }
    }
  }

  // Of the layer at hand.
  RoutingView routing_;
  ReplicaChoice choice_;
  LayerIndex layer_{};
  const Placement* placement_ = nullptr;

  std::vector<ExpertPart> experts_;             // [expert_count]
  std::vector<ShardPart> shards_;               // [shard id]
  std::vector<uint32_t> open_;                  // experts with a choice
  std::vector<Replica> candidates_;             // usable copies of the expert at hand
  std::vector<std::vector<uint32_t>> rows_of_;  // [expert_count] rows of the experts with a choice
  std::vector<bool> marked_;                    // [shard id, rows], only if there is a choice
  std::vector<ShardPlan> spare_;
};

DispatchPlanner::DispatchPlanner() : tables_(std::make_unique<Tables>()) {}
DispatchPlanner::~DispatchPlanner() = default;

void DispatchPlanner::Plan(LayerIndex layer, const RoutingView& routing, const Placement& placement,
                           const ReplicaChoice& choice, DispatchPlan& plan) {
  plan.homeless.clear();
  tables_->Begin(layer, routing, placement, choice);
  tables_->CountPairs();
  tables_->ChooseReplicas(plan.homeless);
  tables_->Fill(plan);
}

void PlanDispatch(LayerIndex layer, const RoutingView& routing, const Placement& placement,
                  const ReplicaChoice& choice, DispatchPlan& plan) {
  DispatchPlanner().Plan(layer, routing, placement, choice, plan);
}

}  // namespace tessera
