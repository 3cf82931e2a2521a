#include "common/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "common/base/check.h"
#include "common/kernels/attention_plan.h"
#include "common/kernels/attention_span.h"
#include "common/kernels/parallel_rows.h"

namespace tessera::kernels {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();

// What all pieces of one call share. Constant while they run.
struct Call {
  const KvLayerView& kv;
  std::span<const AttentionRow> rows;
  ConstMatrixView q;
  MatrixView out;
  size_t group;
  size_t window;
  AttentionPlan plan;

  size_t queries_max() const { return plan.tile_rows_max * group; }
  size_t padded_dim() const { return PaddedDim(kv.head_dim); }
  // Floats of the SpanSums of a largest tile.
  size_t sums_size() const { return queries_max() * (2 + padded_dim()); }
};

SpanSums SumsAt(const Call& call, float* memory) {
  return {.max = memory,
          .sum = memory + call.queries_max(),
          .weighted = memory + 2 * call.queries_max()};
}

// The memory of one thread, and its steps.
class TileWorker {
 public:
  TileWorker(const Call& call, float* memory)
      : call_(call),
        packed_(memory),
        scores_(packed_ + call.queries_max() * call.kv.head_dim),
        span_(SumsAt(call, scores_ + call.queries_max() * kSpanTokens)),
        total_(SumsAt(call, span_.max + call.sums_size())),
        visible_(call.queries_max()) {}

  static size_t MemorySize(const Call& call) {
    return call.queries_max() * (call.kv.head_dim + kSpanTokens) + 2 * call.sums_size();
  }

  void RunWhole(const AttentionTile& tile) {
    const size_t queries = Pack(tile);
    Clear(queries);
    for (size_t span = tile.span_begin(); span < tile.span_end(); ++span) {
      Attend(tile, span, span_);
      for (size_t i = 0; i < queries; ++i) FoldSpanAvx2(i, call_.padded_dim(), span_, total_);
    }
    Finish(tile, queries);
  }

  void RunSpan(const AttentionTile& tile, size_t span, const SpanSums& partial) {
    Pack(tile);
    Attend(tile, span, partial);
  }

  // `partials`: those of the tile's spans, one after the other.
  void RunFold(const AttentionTile& tile, float* partials) {
    const size_t queries = tile.row_count * call_.group;
    Clear(queries);
    for (size_t span = 0; span < tile.span_count(); ++span) {
      const SpanSums partial = SumsAt(call_, partials + span * call_.sums_size());
      for (size_t i = 0; i < queries; ++i) FoldSpanAvx2(i, call_.padded_dim(), partial, total_);
    }
    Finish(tile, queries);
  }

 private:
  // Query i of a tile is head i % group of row i / group.
  const float* QueryOf(const AttentionTile& tile, size_t i) const {
    const size_t head = tile.kv_head * call_.group + i % call_.group;
    return call_.q.row(tile.first_row + i / call_.group).data() + head * call_.kv.head_dim;
  }

  size_t Pack(const AttentionTile& tile) {
    const size_t queries = tile.row_count * call_.group;
    const size_t head_dim = call_.kv.head_dim;
    const auto scale =
        static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(head_dim)));
    const float* from[kMicroQueries];
    float* to = packed_;
    for (size_t t = 0; t < MicroTileCount(queries); ++t) {
      const size_t begin = MicroTileBegin(queries, t);
      const size_t size = MicroTileBegin(queries, t + 1) - begin;
      for (size_t i = 0; i < size; ++i) from[i] = QueryOf(tile, begin + i);
      for (size_t j = 0; j < head_dim; ++j) {
        for (size_t i = 0; i < size; ++i) *to++ = from[i][j] * scale;
      }
    }
    return queries;
  }

  void Clear(size_t queries) {
    std::fill_n(total_.max, queries, kLowest);
    std::fill_n(total_.sum, queries, 0.0f);
    std::fill_n(total_.weighted, queries * call_.padded_dim(), 0.0f);
  }

  void Attend(const AttentionTile& tile, size_t span, const SpanSums& sums) {
    const KvLayerView& kv = call_.kv;
    const size_t queries = tile.row_count * call_.group;
    const size_t span_token = span * kSpanTokens;
    const auto clip = [&](size_t token) {
      return static_cast<uint32_t>(std::min(std::max(token, span_token) - span_token, kSpanTokens));
    };
    for (size_t i = 0; i < queries; ++i) {
      const size_t position = call_.rows[tile.first_row + i / call_.group].position;
      visible_[i] = {.begin = clip(FirstVisible(position, call_.window)),
                     .end = clip(position + 1)};
    }
    SpanTask task = {.keys = {},
                     .values = {},
                     .type = kv.type,
                     .head_dim = kv.head_dim,
                     .query_count = queries,
                     .queries = packed_,
                     .visible = visible_.data(),
                     .scores = scores_};
    const std::span<const uint32_t> blocks = call_.rows[tile.first_row + tile.row_count - 1].blocks;
    const size_t first = tile.token_begin / kKvBlockTokens;
    const size_t last = (tile.token_end - 1) / kKvBlockTokens;
    const size_t head_bytes = kv.head_dim * kKvBlockTokens * SizeOf(kv.type);
    for (size_t i = 0; i < kSpanBlocks + kGroupBlocks; ++i) {
      const size_t block = std::clamp(span * kSpanBlocks + i, first, last);
      const std::byte* const keys =
          kv.base + blocks[block] * kv.block_stride_bytes + tile.kv_head * head_bytes;
      task.keys[i] = keys;
      if (i < kSpanBlocks) task.values[i] = keys + kv.values_offset_bytes();
    }
    AttendSpanAvx2(task, sums);
  }

  void Finish(const AttentionTile& tile, size_t queries) {
    const size_t head_dim = call_.kv.head_dim;
    for (size_t i = 0; i < queries; ++i) {
      const size_t head = tile.kv_head * call_.group + i % call_.group;
      float* const out = call_.out.row(tile.first_row + i / call_.group).data() + head * head_dim;
      FinishQueryAvx2(i, head_dim, call_.kv.type, total_, out);
    }
  }

  const Call& call_;
  float* packed_;
  float* scores_;
  SpanSums span_;
  SpanSums total_;
  std::vector<TokenRange> visible_;
};

// Pieces [0, count) one by one on the pool; a single one on the caller.
template <typename Body>
void RunPieces(const Compute& compute, size_t count, const Body& body) {
  if (count == 1) {
    body(0, 1, 0);
  } else if (count > 1) {
    compute.pool.ParallelFor(count, 1, body);
  }
}

void RunPlan(const Compute& compute, const Call& call, Scratch& scratch) {
  const AttentionPlan& plan = call.plan;
  const size_t worker_bytes = TileWorker::MemorySize(call) * sizeof(float);
  const size_t partial_bytes = plan.partial_count * call.sums_size() * sizeof(float);
  float* const partials = reinterpret_cast<float*>(scratch.Shared(partial_bytes));
  scratch.PrepareWorkers(compute.pool.thread_count());
  const auto worker_of = [&](size_t worker) {
    return TileWorker(call, reinterpret_cast<float*>(scratch.OfWorker(worker, worker_bytes)));
  };
  const auto run = [&](size_t begin, size_t end, size_t worker) {
    TileWorker tile_worker = worker_of(worker);
    for (size_t i = begin; i < end; ++i) {
      const AttentionUnit& unit = plan.units[i];
      if (unit.partial == AttentionUnit::kNo) {
        tile_worker.RunWhole(plan.tiles[unit.tile]);
      } else {
        tile_worker.RunSpan(plan.tiles[unit.tile], unit.span,
                            SumsAt(call, partials + unit.partial * call.sums_size()));
      }
    }
  };
  const auto fold = [&](size_t begin, size_t end, size_t worker) {
    TileWorker tile_worker = worker_of(worker);
    for (size_t i = begin; i < end; ++i) {
      const SplitTile& split = plan.split[i];
      tile_worker.RunFold(plan.tiles[split.tile],
                          partials + split.first_partial * call.sums_size());
    }
  };
  RunPieces(compute, plan.units.size(), run);
  RunPieces(compute, plan.split.size(), fold);
}

void RunReference(const Compute& compute, const Call& call) {
  const size_t head_dim = call.kv.head_dim;
  const size_t heads = call.kv.kv_heads * call.group;
  compute.pool.ParallelFor(call.rows.size(), 1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin * heads; i < end * heads; ++i) {
      const AttentionRow& row = call.rows[i / heads];
      const size_t head = i % heads;
      AttendQueryReference({.kv = call.kv,
                            .row = row,
                            .kv_head = head / call.group,
                            .begin = FirstVisible(row.position, call.window),
                            .end = size_t{row.position} + 1},
                           call.q.row(i / heads).data() + head * head_dim,
                           call.out.row(i / heads).data() + head * head_dim);
    }
  });
}

void CheckRows(const KvLayerView& kv, std::span<const AttentionRow> rows) {
  TESSERA_CHECK(kv.base != nullptr && kv.kv_heads > 0 && kv.head_dim > 0 && kv.head_dim % 2 == 0);
  TESSERA_CHECK(kv.block_stride_bytes >= kv.layer_block_bytes());
  for (const AttentionRow& row : rows) {
    TESSERA_CHECK(row.position / kKvBlockTokens < row.blocks.size());
  }
}

}  // namespace

void StoreKv(const Compute& compute, const KvLayerView& kv, std::span<const AttentionRow> rows,
             ConstMatrixView k, ConstMatrixView v) {
  if (rows.empty()) return;
  CheckRows(kv, rows);
  const size_t width = kv.kv_heads * kv.head_dim;
  TESSERA_CHECK(k.rows() == rows.size() && v.rows() == rows.size());
  TESSERA_CHECK(k.cols() == width && v.cols() == width);
  const StoreToken store = compute.isa >= Isa::kAvx2 ? StoreTokenAvx2 : StoreTokenReference;
  const size_t head_bytes = kv.head_dim * kKvBlockTokens * SizeOf(kv.type);
  ForRows(compute, rows.size(), 4 * width, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const uint32_t block = rows[i].blocks[rows[i].position / kKvBlockTokens];
      const size_t slot = rows[i].position % kKvBlockTokens;
      std::byte* keys = kv.base + block * kv.block_stride_bytes;
      for (size_t head = 0; head < kv.kv_heads; ++head, keys += head_bytes) {
        store(kv.type, kv.head_dim, k.row(i).data() + head * kv.head_dim,
              v.row(i).data() + head * kv.head_dim, slot, keys, keys + kv.values_offset_bytes());
      }
    }
  });
}

void PagedAttention(const Compute& compute, const KvLayerView& kv,
                    std::span<const AttentionRow> rows, ConstMatrixView q, size_t window,
                    MatrixView out) {
  if (rows.empty()) return;
  CheckRows(kv, rows);
  const size_t width = kv.kv_heads * kv.head_dim;
  TESSERA_CHECK(q.rows() == rows.size() && out.rows() == rows.size());
  TESSERA_CHECK(q.cols() > 0 && q.cols() % width == 0 && out.cols() == q.cols());
  Call call = {.kv = kv,
               .rows = rows,
               .q = q,
               .out = out,
               .group = q.cols() / width,
               .window = window,
               .plan = {}};
  if (compute.isa < Isa::kAvx2) {
    RunReference(compute, call);
    return;
  }
  call.plan = PlanAttention(rows, {.kv_heads = kv.kv_heads,
                                   .group = call.group,
                                   .window = window,
                                   .threads = compute.pool.thread_count()});
  Scratch own;
  RunPlan(compute, call, compute.scratch != nullptr ? *compute.scratch : own);
}

void SigmoidGate(const Compute& compute, ConstMatrixView gate, MatrixView x) {
  TESSERA_CHECK(gate.rows() == x.rows() && gate.cols() == x.cols());
  const auto apply = compute.isa >= Isa::kAvx2 ? SigmoidGateAvx2 : SigmoidGateReference;
  ForRows(compute, x.rows(), 2 * x.cols(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) apply(gate.row(i).data(), x.cols(), x.row(i).data());
  });
}

}  // namespace tessera::kernels
