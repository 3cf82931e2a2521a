#include "common/kernels/attention_span.h"
#include "common/kernels/vector_math_avx2.h"

// Loops over registers must vanish for the sums to stay in registers.
#define TESSERA_UNROLL _Pragma("GCC unroll 16")

namespace tessera::kernels {
namespace {

constexpr float kLowest = -__FLT_MAX__;

// Sixteen numbers of the cache as two vectors of floats. F32: the first eight and the last eight.
// BF16: the even ones and the odd ones, which costs one load, a shift and a mask.
struct Pair {
  __m256 a;
  __m256 b;
};

inline Pair Widen(__m256i numbers) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(numbers, 16)),
          _mm256_castsi256_ps(
              _mm256_and_si256(numbers, _mm256_set1_epi32(static_cast<int>(0xffff0000u))))};
}

template <KvType kType>
inline Pair LoadPair(const std::byte* numbers) {
  if constexpr (kType == KvType::kF32) {
    const auto* const floats = reinterpret_cast<const float*>(numbers);
    return {_mm256_loadu_ps(floats), _mm256_loadu_ps(floats + 8)};
  } else {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers)));
  }
}

// The same for the first `count` < 16 numbers (even), zeros for the rest.
template <KvType kType>
inline Pair LoadPairTail(const std::byte* numbers, size_t count) {
  if constexpr (kType == KvType::kF32) {
    const auto* const floats = reinterpret_cast<const float*>(numbers);
    const Pair none = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    if (count <= 8) return {_mm256_maskload_ps(floats, LaneMask(count)), none.b};
    return {_mm256_loadu_ps(floats), _mm256_maskload_ps(floats + 8, LaneMask(count - 8))};
  } else {
    return Widen(_mm256_maskload_epi32(reinterpret_cast<const int*>(numbers), LaneMask(count / 2)));
  }
}

// From the order of LoadPair back to the natural one.
template <KvType kType>
inline Pair Straighten(Pair p) {
  if constexpr (kType == KvType::kF32) {
    return p;
  } else {
    const __m256 low = _mm256_unpacklo_ps(p.a, p.b);
    const __m256 high = _mm256_unpackhi_ps(p.a, p.b);
    return {_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)};
  }
}

// Scores of kQueries queries against kBlocks neighbouring blocks of 16 tokens. Every score is one
// chain of fused products over the dimensions in ascending order. kBlocks > 1 gives few queries
// enough chains to hide the latency of the fused product. kFetch: these blocks' values and the keys
// of the group after this are fetched along the way, which is what keeps a decode step near the
// bandwidth of the memory (measured on Zen 3: 8.9 GB/s with, 4.9 without, beside a read loop
// at 9.8).
template <KvType kType, int kQueries, int kBlocks, bool kFetch>
void ScoreBlocks(const SpanTask& task, const float* queries, size_t block, float* scores) {
  constexpr size_t kRowBytes = kKvBlockTokens * (kType == KvType::kF32 ? 4 : 2);
  const size_t head_dim = task.head_dim;
  const std::byte* const* const keys = task.keys + block;
  Pair sums[kBlocks][kQueries];
  TESSERA_UNROLL for (int b = 0; b < kBlocks; ++b) {
    TESSERA_UNROLL for (int q = 0; q < kQueries; ++q) {
      sums[b][q] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    }
  }
  for (size_t i = 0; i < head_dim; ++i) {
    TESSERA_UNROLL for (int b = 0; b < kBlocks; ++b) {
      if constexpr (kFetch) {
        const size_t line = i * kRowBytes;
        _mm_prefetch(reinterpret_cast<const char*>(keys[b + kGroupBlocks] + line), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(task.values[block + b] + line), _MM_HINT_T1);
      }
      const Pair k = LoadPair<kType>(keys[b] + i * kRowBytes);
      TESSERA_UNROLL for (int q = 0; q < kQueries; ++q) {
        const __m256 x = _mm256_broadcast_ss(queries + i * kQueries + q);
        sums[b][q].a = _mm256_fmadd_ps(x, k.a, sums[b][q].a);
        sums[b][q].b = _mm256_fmadd_ps(x, k.b, sums[b][q].b);
      }
    }
  }
  TESSERA_UNROLL for (int b = 0; b < kBlocks; ++b) {
    TESSERA_UNROLL for (int q = 0; q < kQueries; ++q) {
      float* const out = scores + q * kSpanTokens + (block + b) * kKvBlockTokens;
      const Pair s = Straighten<kType>(sums[b][q]);
      _mm256_storeu_ps(out, s.a);
      _mm256_storeu_ps(out + 8, s.b);
    }
  }
}

struct Range {
  size_t begin;
  size_t end;
};

template <KvType kType, int kQueries, bool kFetch>
void ScoreRange(const SpanTask& task, const float* queries, Range blocks, float* scores) {
  constexpr int kBlocks = kQueries == 1 ? 4 : kQueries <= 3 ? 2 : 1;
  size_t b = blocks.begin;
  for (; b + kBlocks <= blocks.end; b += kBlocks) {
    ScoreBlocks<kType, kQueries, kBlocks, kFetch>(task, queries, b, scores);
  }
  for (; b < blocks.end; ++b) {
    ScoreBlocks<kType, kQueries, 1, kFetch>(task, queries, b, scores);
  }
}

// Adds the values of tokens [tokens.begin, tokens.end), times their weights, to kChunks chunks of
// 16 dimensions of each query's sum. One chain per number, tokens ascending. kTail: the chunk is
// the last and has `tail` < 16 dimensions.
template <KvType kType, int kQueries, int kChunks, bool kTail>
void WeighChunks(const SpanTask& task, const float* weights, Range tokens, size_t dim, float* out) {
  constexpr size_t kBytes = kType == KvType::kF32 ? 4 : 2;
  const size_t row_bytes = task.head_dim * kBytes;
  const size_t padded = PaddedDim(task.head_dim);
  Pair sums[kQueries][kChunks];
  TESSERA_UNROLL for (int q = 0; q < kQueries; ++q) {
    TESSERA_UNROLL for (int c = 0; c < kChunks; ++c) {
      const float* const from = out + q * padded + dim + 16 * c;
      sums[q][c] = {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
    }
  }
  size_t token = tokens.begin;
  while (token < tokens.end) {
    const size_t block = token / kKvBlockTokens;
    const size_t block_end = (block + 1) * kKvBlockTokens;
    const size_t end = block_end < tokens.end ? block_end : tokens.end;
    const std::byte* v = task.values[block] + token % kKvBlockTokens * row_bytes + dim * kBytes;
    for (; token < end; ++token, v += row_bytes) {
      TESSERA_UNROLL for (int c = 0; c < kChunks; ++c) {
        const Pair value = kTail ? LoadPairTail<kType>(v, task.head_dim - dim)
                                 : LoadPair<kType>(v + 16 * c * kBytes);
        TESSERA_UNROLL for (int q = 0; q < kQueries; ++q) {
          const __m256 weight = _mm256_broadcast_ss(weights + q * kSpanTokens + token);
          sums[q][c].a = _mm256_fmadd_ps(weight, value.a, sums[q][c].a);
          sums[q][c].b = _mm256_fmadd_ps(weight, value.b, sums[q][c].b);
        }
      }
    }
  }
  TESSERA_UNROLL for (int q = 0; q < kQueries; ++q) {
    TESSERA_UNROLL for (int c = 0; c < kChunks; ++c) {
      float* const to = out + q * padded + dim + 16 * c;
      _mm256_storeu_ps(to, sums[q][c].a);
      _mm256_storeu_ps(to + 8, sums[q][c].b);
    }
  }
}

template <KvType kType, int kQueries>
void WeighRange(const SpanTask& task, const float* weights, Range tokens, float* out) {
  constexpr int kChunks = kQueries == 1 ? 4 : kQueries <= 3 ? 2 : 1;
  const size_t whole = task.head_dim / 16 * 16;
  size_t dim = 0;
  for (; dim + 16 * kChunks <= whole; dim += 16 * kChunks) {
    WeighChunks<kType, kQueries, kChunks, false>(task, weights, tokens, dim, out);
  }
  for (; dim < whole; dim += 16) {
    WeighChunks<kType, kQueries, 1, false>(task, weights, tokens, dim, out);
  }
  if (dim < task.head_dim) {
    WeighChunks<kType, kQueries, 1, true>(task, weights, tokens, dim, out);
  }
}

// The two products by the number of queries of a microtile.
struct Products {
  void (*score)(const SpanTask& task, const float* queries, Range blocks, float* scores);
  void (*score_fetching)(const SpanTask& task, const float* queries, Range blocks, float* scores);
  void (*weigh)(const SpanTask& task, const float* weights, Range tokens, float* out);
};

template <KvType kType, int kQueries>
constexpr Products ProductsOf() {
  return {ScoreRange<kType, kQueries, false>, ScoreRange<kType, kQueries, true>,
          WeighRange<kType, kQueries>};
}

template <KvType kType>
constexpr Products kProducts[kMicroQueries] = {ProductsOf<kType, 1>(), ProductsOf<kType, 2>(),
                                               ProductsOf<kType, 3>(), ProductsOf<kType, 4>(),
                                               ProductsOf<kType, 5>(), ProductsOf<kType, 6>()};

const Products& ProductsFor(KvType type, size_t queries) {
  return type == KvType::kF32 ? kProducts<KvType::kF32>[queries - 1]
                              : kProducts<KvType::kBF16>[queries - 1];
}

// Turns the scores of one query within `blocks` into weights: 2^(score - max), 0 for tokens it does
// not see. Sixteen partial sums, one per place in a block.
void WeighScores(TokenRange visible, Range blocks, float* scores, float* max, float* sum) {
  const size_t begin = blocks.begin * kKvBlockTokens;
  const size_t end = blocks.end * kKvBlockTokens;
  const size_t first = visible.begin < visible.end ? visible.begin : end;
  for (size_t i = begin; i < first; ++i) scores[i] = -__builtin_inff();
  for (size_t i = visible.end > first ? visible.end : first; i < end; ++i) {
    scores[i] = -__builtin_inff();
  }
  // max(s, m) gives m where s is NaN: the NaN then shows in the weights.
  __m256 largest_a = _mm256_set1_ps(kLowest);
  __m256 largest_b = largest_a;
  for (size_t i = begin; i < end; i += 16) {
    largest_a = _mm256_max_ps(_mm256_loadu_ps(scores + i), largest_a);
    largest_b = _mm256_max_ps(_mm256_loadu_ps(scores + i + 8), largest_b);
  }
  *max = HorizontalMax(_mm256_max_ps(largest_a, largest_b));
  const __m256 shift = _mm256_set1_ps(*max);
  __m256 sum_a = _mm256_setzero_ps();
  __m256 sum_b = sum_a;
  for (size_t i = begin; i < end; i += 16) {
    const __m256 a = Exp2NonPositive(_mm256_sub_ps(_mm256_loadu_ps(scores + i), shift));
    const __m256 b = Exp2NonPositive(_mm256_sub_ps(_mm256_loadu_ps(scores + i + 8), shift));
    _mm256_storeu_ps(scores + i, a);
    _mm256_storeu_ps(scores + i + 8, b);
    sum_a = _mm256_add_ps(sum_a, a);
    sum_b = _mm256_add_ps(sum_b, b);
  }
  *sum = HorizontalSum(_mm256_add_ps(sum_a, sum_b));
}

// Queries [begin, end) of a tile, and the tokens that any of them sees.
struct MicroTile {
  size_t begin;
  size_t end;
  Range tokens;
  const Products* products;
};

MicroTile MicroTileOf(const SpanTask& task, size_t index) {
  MicroTile tile = {.begin = MicroTileBegin(task.query_count, index),
                    .end = MicroTileBegin(task.query_count, index + 1),
                    .tokens = {kSpanTokens, 0},
                    .products = nullptr};
  for (size_t i = tile.begin; i < tile.end; ++i) {
    const TokenRange seen = task.visible[i];
    if (seen.begin >= seen.end) continue;
    if (seen.begin < tile.tokens.begin) tile.tokens.begin = seen.begin;
    if (seen.end > tile.tokens.end) tile.tokens.end = seen.end;
  }
  tile.products = &ProductsFor(task.type, tile.end - tile.begin);
  return tile;
}

Range BlocksOf(Range tokens) {
  if (tokens.begin >= tokens.end) return {0, 0};
  return {tokens.begin / kKvBlockTokens, (tokens.end + kKvBlockTokens - 1) / kKvBlockTokens};
}

// The part of `range` within [begin, end).
Range Within(Range range, size_t begin, size_t end) {
  return {range.begin > begin ? range.begin : begin, range.end < end ? range.end : end};
}

}  // namespace

void AttendSpanAvx2(const SpanTask& task, const SpanSums& out) {
  const size_t queries = task.query_count;
  const size_t tiles = MicroTileCount(queries);
  const size_t padded = PaddedDim(task.head_dim);
  for (size_t group = 0; group < kSpanBlocks; group += kGroupBlocks) {
    for (size_t t = 0; t < tiles; ++t) {
      const MicroTile tile = MicroTileOf(task, t);
      const Range blocks = Within(BlocksOf(tile.tokens), group, group + kGroupBlocks);
      if (blocks.begin >= blocks.end) continue;
      const auto score = t == 0 ? tile.products->score_fetching : tile.products->score;
      score(task, task.queries + tile.begin * task.head_dim, blocks,
            task.scores + tile.begin * kSpanTokens);
    }
  }
  for (size_t t = 0; t < tiles; ++t) {
    const MicroTile tile = MicroTileOf(task, t);
    for (size_t q = tile.begin; q < tile.end; ++q) {
      WeighScores(task.visible[q], BlocksOf(tile.tokens), task.scores + q * kSpanTokens,
                  out.max + q, out.sum + q);
    }
  }
  __builtin_memset(out.weighted, 0, queries * padded * sizeof(float));
  constexpr size_t kGroupTokens = kGroupBlocks * kKvBlockTokens;
  for (size_t group = 0; group < kSpanTokens; group += kGroupTokens) {
    for (size_t t = 0; t < tiles; ++t) {
      const MicroTile tile = MicroTileOf(task, t);
      const Range tokens = Within(tile.tokens, group, group + kGroupTokens);
      if (tokens.begin >= tokens.end) continue;
      tile.products->weigh(task, task.scores + tile.begin * kSpanTokens, tokens,
                           out.weighted + tile.begin * padded);
    }
  }
}

void FoldSpanAvx2(size_t query, size_t padded_dim, const SpanSums& span, const SpanSums& total) {
  const __m256 total_max = _mm256_set1_ps(total.max[query]);
  const __m256 span_max = _mm256_set1_ps(span.max[query]);
  const __m256 max = _mm256_max_ps(total_max, span_max);
  const __m256 keep = Exp2NonPositive(_mm256_sub_ps(total_max, max));
  const __m256 take = Exp2NonPositive(_mm256_sub_ps(span_max, max));
  const float keep_one = _mm256_cvtss_f32(keep);
  const float take_one = _mm256_cvtss_f32(take);
  total.max[query] = _mm256_cvtss_f32(max);
  total.sum[query] = total.sum[query] * keep_one + span.sum[query] * take_one;
  float* const to = total.weighted + query * padded_dim;
  const float* const from = span.weighted + query * padded_dim;
  for (size_t i = 0; i < padded_dim; i += 8) {
    const __m256 kept = _mm256_mul_ps(_mm256_loadu_ps(to + i), keep);
    _mm256_storeu_ps(to + i, _mm256_fmadd_ps(_mm256_loadu_ps(from + i), take, kept));
  }
}

void FinishQueryAvx2(size_t query, size_t head_dim, KvType type, const SpanSums& total,
                     float* out) {
  const float* const weighted = total.weighted + query * PaddedDim(head_dim);
  const __m256 factor = _mm256_div_ps(_mm256_set1_ps(1.0f), _mm256_set1_ps(total.sum[query]));
  for (size_t i = 0; i < head_dim; i += 16) {
    Pair p = {_mm256_mul_ps(_mm256_loadu_ps(weighted + i), factor),
              _mm256_mul_ps(_mm256_loadu_ps(weighted + i + 8), factor)};
    p = type == KvType::kF32 ? p : Straighten<KvType::kBF16>(p);
    if (i + 16 <= head_dim) {
      _mm256_storeu_ps(out + i, p.a);
      _mm256_storeu_ps(out + i + 8, p.b);
    } else {
      const size_t left = head_dim - i;
      _mm256_maskstore_ps(out + i, LaneMask(left), p.a);
      if (left > 8) _mm256_maskstore_ps(out + i + 8, LaneMask(left - 8), p.b);
    }
  }
}

}  // namespace tessera::kernels
