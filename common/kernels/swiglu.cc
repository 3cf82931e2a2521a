#include "common/kernels/swiglu.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/base/check.h"
#include "common/kernels/feed_forward.h"
#include "common/kernels/product_reference.h"

namespace tessera::kernels {
namespace {

// A group with its place in the result.
struct GroupWork {
  const ExpertGroup* group = nullptr;
  MatrixView out;   // this group's rows
  double cost = 0;  // in arbitrary units of time
};

// Weight bytes times rows; up to six rows cost the same, because reading the weights dominates.
double CostOf(const ExpertGroup& group) {
  constexpr size_t kFreeRows = 6;
  return static_cast<double>(group.weights->size_bytes()) *
         static_cast<double>(std::max(group.rows.size(), kFreeRows));
}

void CheckShapes(std::span<const ExpertGroup> groups, const RowSource& x, MatrixView out) {
  size_t pairs = 0;
  for (const ExpertGroup& group : groups) {
    TESSERA_CHECK(group.rows.size() == group.row_weights.size());
    if (group.rows.empty()) continue;
    TESSERA_CHECK(x.cols() == group.weights->d_model() && out.cols() == x.cols());
    for (const uint32_t row : group.rows) TESSERA_CHECK(row < x.rows());
    pairs += group.rows.size();
  }
  TESSERA_CHECK(out.rows() == pairs);
}

// The groups that have rows, the costliest first.
std::vector<GroupWork> SortByCost(std::span<const ExpertGroup> groups, MatrixView out) {
  std::vector<GroupWork> works;
  size_t pair = 0;
  for (const ExpertGroup& group : groups) {
    if (group.rows.empty()) continue;
    works.push_back({&group, out.Rows(pair, group.rows.size()), CostOf(group)});
    pair += group.rows.size();
  }
  std::stable_sort(works.begin(), works.end(),
                   [](const GroupWork& a, const GroupWork& b) { return a.cost > b.cost; });
  return works;
}

// Time that threads wait for the last one when `works` are claimed in order by whole groups.
double IdleTime(std::span<const GroupWork> works, size_t thread_count) {
  std::vector<double> load(thread_count, 0.0);
  for (const GroupWork& work : works) *std::min_element(load.begin(), load.end()) += work.cost;
  const double last = *std::max_element(load.begin(), load.end());
  return last * static_cast<double>(thread_count) - std::accumulate(load.begin(), load.end(), 0.0);
}

// Which of the sorted works [0, n) are split by outputs among all threads: those too large for one
// thread (the first `large`), and the last of the list, as many as fill the idle time of the rest.
struct Split {
  size_t large = 0;
  size_t tail = 0;  // works [tail, n) are split
};

Split ChooseSplit(std::span<const GroupWork> works, size_t thread_count) {
  Split split{.large = 0, .tail = works.size()};
  double total = 0;
  for (const GroupWork& work : works) total += work.cost;
  const double share = total / static_cast<double>(thread_count);
  while (split.large < works.size() && thread_count > 1 && works[split.large].cost > share) {
    ++split.large;
  }
  // Idle time below a fiftieth is not worth a second parallel region.
  double filling = 0.02 * total;
  for (size_t i = 0; i < split.large; ++i) filling += works[i].cost;
  while (split.tail > split.large &&
         IdleTime(works.subspan(split.large, split.tail - split.large), thread_count) > filling) {
    filling += works[--split.tail].cost;
  }
  return split;
}

// All of a group by one thread.
void RunWhole(const Compute& compute, Scratch& scratch, size_t worker, const GroupWork& work,
              const RowSource& x) {
  const std::span<const uint32_t> rows = work.group->rows;
  FeedForward network(compute, *work.group->weights, rows.size());
  network.Place(scratch.OfWorker(worker, network.scratch_bytes()));
  for (size_t i = 0; i < rows.size(); ++i) network.ConvertInput(i, x.row(rows[i]));
  network.RunAct(0, network.act_strip_count());
  for (size_t i = 0; i < rows.size(); ++i) network.ConvertAct(i);
  network.RunDown(0, network.down().strip_count(), work.group->row_weights, work.out);
}

// A group that all threads share, and a piece of it.
struct SharedGroup {
  FeedForward network;
  GroupWork work;
};
struct Piece {
  const SharedGroup* shared;
  size_t begin;
  size_t end;
};

std::vector<SharedGroup> PlaceShared(const Compute& compute, Scratch& scratch,
                                     std::span<const GroupWork> works, const Split& split,
                                     const RowSource& x) {
  std::vector<SharedGroup> shared;
  size_t total_bytes = 0;
  for (size_t i = 0; i < works.size(); ++i) {
    if (i >= split.large && i < split.tail) continue;
    const ExpertGroup& group = *works[i].group;
    shared.push_back({FeedForward(compute, *group.weights, group.rows.size()), works[i]});
    total_bytes += shared.back().network.scratch_bytes();
  }
  if (shared.empty()) return shared;
  std::byte* memory = scratch.Shared(total_bytes);
  for (SharedGroup& each : shared) {
    each.network.Place(memory);
    memory += each.network.scratch_bytes();
    const std::span<const uint32_t> rows = each.work.group->rows;
    for (size_t i = 0; i < rows.size(); ++i) each.network.ConvertInput(i, x.row(rows[i]));
  }
  return shared;
}

// Cuts a step of every shared group into pieces.
template <typename StripCount, typename StripBytes>
std::vector<Piece> CutPieces(const Compute& compute, std::span<const SharedGroup> shared,
                             StripCount strip_count, StripBytes strip_bytes) {
  std::vector<Piece> pieces;
  for (const SharedGroup& each : shared) {
    const size_t strips = strip_count(each.network);
    const size_t grain = StripGrain(strips, strip_bytes(each.network), compute.pool.thread_count());
    for (size_t begin = 0; begin < strips; begin += grain) {
      pieces.push_back({&each, begin, std::min(strips, begin + grain)});
    }
  }
  return pieces;
}

// The second half of the shared groups: act is complete.
void RunSharedDown(const Compute& compute, std::span<const SharedGroup> shared) {
  for (const SharedGroup& each : shared) each.network.ConvertActs(compute);
  const std::vector<Piece> pieces = CutPieces(
      compute, shared, [](const FeedForward& n) { return n.down().strip_count(); },
      [](const FeedForward& n) { return n.down().strip_bytes(); });
  compute.pool.ParallelFor(pieces.size(), 1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end; ++i) {
      const GroupWork& work = pieces[i].shared->work;
      pieces[i].shared->network.RunDown(pieces[i].begin, pieces[i].end, work.group->row_weights,
                                        work.out);
    }
  });
}

}  // namespace

void SwiGlu(const Compute& compute, const SwiGluWeights& weights, ConstMatrixView x, MatrixView y) {
  TESSERA_CHECK(x.rows() == y.rows());
  if (x.rows() == 0) return;
  TESSERA_CHECK(x.cols() == weights.d_model() && y.cols() == x.cols());
  if (compute.isa == Isa::kReference) return SwiGluReference(weights, x, y);
  Scratch own;
  Scratch& scratch = compute.scratch != nullptr ? *compute.scratch : own;
  FeedForward network(compute, weights, x.rows());
  network.Place(scratch.Shared(network.scratch_bytes()));
  network.ConvertInputs(compute, x);
  const size_t threads = compute.pool.thread_count();
  const size_t act_strips = network.act_strip_count();
  compute.pool.ParallelFor(act_strips, StripGrain(act_strips, network.act_strip_bytes(), threads),
                           [&](size_t begin, size_t end, size_t) { network.RunAct(begin, end); });
  network.ConvertActs(compute);
  const size_t down_strips = network.down().strip_count();
  compute.pool.ParallelFor(
      down_strips, StripGrain(down_strips, network.down().strip_bytes(), threads),
      [&](size_t begin, size_t end, size_t) { network.RunDown(begin, end, {}, y); });
}

void GroupedSwiGlu(const Compute& compute, std::span<const ExpertGroup> groups, const RowSource& x,
                   MatrixView out) {
  CheckShapes(groups, x, out);
  if (compute.isa == Isa::kReference) return GroupedSwiGluReference(groups, x, out);
  if (out.rows() == 0) return;
  Scratch own;
  Scratch& scratch = compute.scratch != nullptr ? *compute.scratch : own;
  scratch.PrepareWorkers(compute.pool.thread_count());
  const std::vector<GroupWork> works = SortByCost(groups, out);
  const Split split = ChooseSplit(works, compute.pool.thread_count());
  const std::vector<SharedGroup> shared = PlaceShared(compute, scratch, works, split, x);
  const std::vector<Piece> pieces = CutPieces(
      compute, shared, [](const FeedForward& n) { return n.act_strip_count(); },
      [](const FeedForward& n) { return n.act_strip_bytes(); });
  // Whole groups first, the costliest first; the pieces of the shared ones fill the end.
  const size_t whole = split.tail - split.large;
  compute.pool.ParallelFor(whole + pieces.size(), 1, [&](size_t begin, size_t end, size_t worker) {
    for (size_t i = begin; i < end; ++i) {
      if (i < whole) {
        RunWhole(compute, scratch, worker, works[split.large + i], x);
      } else {
        const Piece& piece = pieces[i - whole];
        piece.shared->network.RunAct(piece.begin, piece.end);
      }
    }
  });
  if (!shared.empty()) RunSharedDown(compute, shared);
}

}  // namespace tessera::kernels
