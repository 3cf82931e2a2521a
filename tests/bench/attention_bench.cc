// Speed of paged attention (Trinity Nano: 8 query heads, 2 kv heads, head_dim 128) and of the small
// kernels, beside what the machine offers in the same run: a loop of fused multiply-adds and a
// plain read loop over memory, on all threads.
//
//   attention_bench [THREADS]      default 0: all usable CPUs
//
// Prefill lines give GFLOP/s (4 * head_dim a visible pair of query and token) and the share of the
// FMA loop; decode lines give GB/s of keys and values and the share of the read loop. Each is the
// median, and in brackets the best, of interleaved rounds: on a machine that others use the best
// is what to compare.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/kernels/attention.h"
#include "common/kernels/reduce.h"
#include "common/kernels/rms_norm.h"
#include "common/kernels/rope.h"
#include "common/kernels/top_k.h"
#include "common/tensor/aligned_buffer.h"
#include "common/tensor/dtype.h"
#include "common/tensor/matrix.h"
#include "tests/bench/fma_peak.h"

namespace tessera::bench {
namespace {

using kernels::AttentionRow;
using kernels::Compute;
using kernels::Isa;
using kernels::kKvBlockTokens;
using kernels::KvLayerView;
using kernels::KvType;

constexpr size_t kHeadDim = 128;
constexpr size_t kQueryHeads = 8;
constexpr size_t kKvHeads = 2;
constexpr size_t kCacheBytes = size_t{512} << 20;
constexpr size_t kReadBytes = size_t{256} << 20;
constexpr size_t kPeakPieces = 64;
constexpr size_t kPeakRounds = 20000;
constexpr double kSecondsPerCase = 1.5;

Matrix RandomMatrix(size_t rows, size_t cols, uint64_t seed) {
  Random random(seed);
  Matrix matrix(rows, cols);
  for (float& v : matrix.values()) v = static_cast<float>(random.Uniform() * 2 - 1);
  return matrix;
}

class Bench {
 public:
  explicit Bench(size_t threads)
      : pool_({.thread_count = threads}),
        compute_{.pool = pool_, .features = {}, .isa = kernels::LocalIsa(), .scratch = &scratch_},
        cache_(*AlignedBuffer::Allocate(kCacheBytes)) {
    // Numbers in [1, 2): finite whatever the type.
    std::ranges::fill(cache_.as<uint16_t>(), uint16_t{0x3f80});
  }

  void Run() {
    std::printf("isa %s, threads %zu\n", std::string(NameOf(compute_.isa)).c_str(),
                pool_.thread_count());
    for (const KvType type : {KvType::kBF16, KvType::kF32}) {
      for (const size_t tokens : {128, 512, 2048}) {
        Prefill({.type = type, .begin = 0, .end = tokens, .window = 0});
      }
      Prefill({.type = type, .begin = 2024, .end = 2048, .window = 0});
    }
    Prefill({.type = KvType::kBF16, .begin = 0, .end = 4096, .window = 2048});
    Prefill({.type = KvType::kBF16, .begin = 4072, .end = 4096, .window = 2048});
    for (const size_t sequences : {1, 4, 16}) Decode(KvType::kBF16, sequences, 4096);
    Decode(KvType::kF32, 4, 4096);
    SmallKernels();
  }

 private:
  double Seconds(const std::function<void()>& run) const {
    const absl::Duration start = clock_.Elapsed();
    run();
    return absl::ToDoubleSeconds(clock_.Elapsed() - start);
  }

  // Runs `run` and `yardstick` in turn; prints their rates in `unit`.
  void Compare(const std::string& name, const char* unit, double amount,
               const std::function<void()>& run, double yard_amount,
               const std::function<void()>& yardstick) {
    std::vector<double> rates;
    std::vector<double> yard_rates;
    const absl::Duration start = clock_.Elapsed();
    while (absl::ToDoubleSeconds(clock_.Elapsed() - start) < kSecondsPerCase || rates.size() < 5) {
      rates.push_back(amount / Seconds(run) * 1e-9);
      yard_rates.push_back(yard_amount / Seconds(yardstick) * 1e-9);
    }
    std::ranges::sort(rates);
    std::ranges::sort(yard_rates);
    const double median = rates[rates.size() / 2];
    const double yard_median = yard_rates[yard_rates.size() / 2];
    std::printf("%-36s %7.1f (%7.1f) %s  of %7.1f (%7.1f): %3.0f %% (%3.0f %%)\n", name.c_str(),
                median, rates.back(), unit, yard_median, yard_rates.back(),
                100 * median / yard_median, 100 * rates.back() / yard_rates.back());
    std::fflush(stdout);
  }

  // Layer `layer` of a cache whose blocks hold `layers` layers each.
  KvLayerView Layer(KvType type, size_t layers, size_t layer) const {
    KvLayerView view = {.base = nullptr,
                        .block_stride_bytes = 0,
                        .kv_heads = kKvHeads,
                        .head_dim = kHeadDim,
                        .type = type};
    view.block_stride_bytes = layers * view.layer_block_bytes();
    view.base = cache_.data() + layer * view.layer_block_bytes();
    return view;
  }

  void FmaLoop() {
    pool_.ParallelFor(kPeakPieces, 1, [&](size_t, size_t, size_t worker) {
      sinks_[worker % sinks_.size()] = SpinFmas(kPeakRounds);
    });
  }

  void ReadLoop() {
    const std::span<const uint64_t> numbers = cache_.as<uint64_t>().first(kReadBytes / 8);
    pool_.ParallelFor(kReadBytes >> 20, 1, [&](size_t begin, size_t end, size_t worker) {
      uint64_t sum = 0;
      for (const uint64_t v : numbers.subspan(begin << 17, (end - begin) << 17)) sum += v;
      sinks_[worker % sinks_.size()] += static_cast<float>(sum);
    });
  }

  // Rows [begin, end) of one sequence. A short piece of a long prompt fits between two
  // interruptions by the machine's other users.
  struct PrefillCase {
    KvType type;
    size_t begin;
    size_t end;
    size_t window;
  };

  void Prefill(const PrefillCase& c) {
    std::vector<uint32_t> blocks(c.end / kKvBlockTokens + 1);
    std::iota(blocks.begin(), blocks.end(), 0u);
    std::vector<AttentionRow> rows;
    double pairs = 0;
    for (size_t t = c.begin; t < c.end; ++t) {
      rows.push_back({.blocks = blocks, .position = static_cast<uint32_t>(t)});
      pairs += static_cast<double>(c.window == 0 ? t + 1 : std::min(t + 1, c.window));
    }
    const Matrix q = RandomMatrix(rows.size(), kQueryHeads * kHeadDim, c.end);
    Matrix out(rows.size(), kQueryHeads * kHeadDim);
    const KvLayerView kv = Layer(c.type, 1, 0);
    Compare(
        absl::StrCat("prefill ", c.begin, "..", c.end, c.type == KvType::kF32 ? " f32" : " bf16",
                     c.window == 0 ? "" : absl::StrCat(" window ", c.window)),
        "GFLOP/s", pairs * 4 * kHeadDim * kQueryHeads,
        [&] { kernels::PagedAttention(compute_, kv, rows, q.view(), c.window, out.view()); },
        static_cast<double>(kPeakPieces * kPeakRounds * kFlopsPerFmaRound), [&] { FmaLoop(); });
  }

  // One step over as many layers as make the whole cache, blocks in random order.
  void Decode(KvType type, size_t sequences, size_t context) {
    const size_t blocks_each = context / kKvBlockTokens;
    const size_t layer_bytes = sequences * blocks_each * Layer(type, 1, 0).layer_block_bytes();
    const size_t layers = kCacheBytes / layer_bytes;
    std::vector<uint32_t> blocks(sequences * blocks_each);
    std::iota(blocks.begin(), blocks.end(), 0u);
    Random random(1);
    for (size_t i = blocks.size(); i > 1; --i) std::swap(blocks[i - 1], blocks[random.Below(i)]);
    std::vector<AttentionRow> rows;
    for (size_t s = 0; s < sequences; ++s) {
      rows.push_back({.blocks = std::span(blocks).subspan(s * blocks_each, blocks_each),
                      .position = static_cast<uint32_t>(context - 1)});
    }
    const Matrix q = RandomMatrix(sequences, kQueryHeads * kHeadDim, 3);
    Matrix out(sequences, kQueryHeads * kHeadDim);
    Compare(
        absl::StrCat("decode ", sequences, " x ", context, type == KvType::kF32 ? " f32" : " bf16"),
        "GB/s   ", static_cast<double>(layers * layer_bytes),
        [&] {
          for (size_t layer = 0; layer < layers; ++layer) {
            kernels::PagedAttention(compute_, Layer(type, layers, layer), rows, q.view(), 0,
                                    out.view());
          }
        },
        kReadBytes, [&] { ReadLoop(); });
  }

  // Microseconds of one call: the best of many.
  void PrintMicroseconds(const char* name, const std::function<void()>& run) {
    double best = 1e9;
    for (int round = 0; round < 200; ++round) best = std::min(best, Seconds(run));
    std::printf("%-36s %9.2f us\n", name, best * 1e6);
  }

  void SmallKernels() {
    const Matrix logits = RandomMatrix(1, 200192, 1);
    double sum = 0;
    PrintMicroseconds("argmax 200192", [&] { sum += kernels::ArgMax(logits.row(0)); });
    PrintMicroseconds("all finite 200192", [&] { sum += kernels::AllFinite(logits.row(0)); });
    PrintMicroseconds("top 50 of 200192", [&] { sum += kernels::TopK(logits.row(0), 50)[0]; });
    for (const auto& [experts, top_k] : {std::pair<size_t, size_t>{128, 8}, {256, 4}}) {
      const Matrix gate = RandomMatrix(16, experts, 2);
      std::vector<uint32_t> ids(16 * top_k);
      std::vector<float> weights(16 * top_k);
      PrintMicroseconds(absl::StrCat("select ", top_k, " of ", experts, ", 16 rows").c_str(), [&] {
        kernels::SelectExperts(compute_, gate.view(), {}, {.top_k = top_k}, ids, weights);
      });
    }
    const kernels::Rope rope(kHeadDim, 10000.0);
    const Matrix weight = RandomMatrix(1, 1024, 4);
    for (const size_t rows : {1, 512}) {
      Matrix x = RandomMatrix(rows, 1024, 5);
      std::vector<uint32_t> positions(rows, 1000);
      const std::string suffix = absl::StrCat(" ", rows, " x 1024");
      PrintMicroseconds(("rms norm" + suffix).c_str(), [&] {
        kernels::RmsNorm(compute_, x.view(), weight.row(0), 1e-5f, x.view());
      });
      PrintMicroseconds(("rope" + suffix).c_str(),
                        [&] { rope.Apply(compute_, positions, x.view()); });
      PrintMicroseconds(("sigmoid gate" + suffix).c_str(),
                        [&] { kernels::SigmoidGate(compute_, x.view(), x.view()); });
    }
    sinks_[0] += static_cast<float>(sum);
  }

  const RealClock clock_;
  ThreadPool pool_;
  kernels::Scratch scratch_;
  Compute compute_;
  AlignedBuffer cache_;
  std::vector<float> sinks_ = std::vector<float>(1024);
};

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  tessera::bench::Bench(argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0).Run();
  return 0;
}
