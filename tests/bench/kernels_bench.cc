// Speed of the matrix products beside what the machine offers in the same run: a plain read loop
// over memory and a loop of fused multiply-adds, both on all threads.
//
//   kernels_bench [--isa=auto] [--threads=0] [--seconds=0.3] [--only=SUBSTRING] [--rows=N]
//
// A line is one case: GB/s of weights and GFLOP/s (two a weight and row), the median over passes
// and in brackets the best; then the shares of the read loop and of the peak measured right after,
// again median to median and best to best. On a machine that others use the best is what to
// compare. Weights cycle through 512 MB, so that none is found in a cache.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/kernels/matmul.h"
#include "common/kernels/swiglu.h"
#include "common/tensor/dtype.h"
#include "common/tensor/matrix.h"
#include "tests/bench/fma_peak.h"

namespace tessera::bench {
namespace {

using kernels::Arithmetic;
using kernels::Compute;
using kernels::WeightLayout;
using kernels::WeightMatrix;
using kernels::WeightType;

constexpr size_t kCycledBytes = size_t{512} << 20;
constexpr size_t kReadBytes = size_t{16} << 20;
constexpr size_t kPeakRounds = 100000;

struct Options {
  std::string isa = "auto";
  std::string only;
  size_t threads = 0;
  size_t rows = 0;  // only products of so many; 0: all
  double seconds = 0.3;
};

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const std::string value = arg.substr(std::min(arg.size(), arg.find('=') + 1));
    if (arg.rfind("--isa=", 0) == 0) options.isa = value;
    if (arg.rfind("--only=", 0) == 0) options.only = value;
    if (arg.rfind("--rows=", 0) == 0) options.rows = std::strtoul(value.c_str(), nullptr, 10);
    if (arg.rfind("--threads=", 0) == 0) options.threads = std::strtoul(value.c_str(), nullptr, 10);
    if (arg.rfind("--seconds=", 0) == 0) options.seconds = std::strtod(value.c_str(), nullptr);
  }
  return options;
}

AlignedBuffer AllocateOrDie(size_t size_bytes) {
  absl::StatusOr<AlignedBuffer> buffer = AlignedBuffer::Allocate(size_bytes);
  TESSERA_CHECK(buffer.ok());
  return *std::move(buffer);
}

struct Seconds {
  double median = 0;
  double best = 0;
};

// Of one call of `run`, over as many as fit into `budget`, at least five.
template <typename Run>
Seconds Measure(double budget, Run run) {
  const RealClock clock;
  std::vector<double> seconds;
  double total = 0;
  while (total < budget || seconds.size() < 5) {
    const absl::Duration start = clock.Elapsed();
    run();
    seconds.push_back(absl::ToDoubleSeconds(clock.Elapsed() - start));
    total += seconds.back();
  }
  std::sort(seconds.begin(), seconds.end());
  return {.median = seconds[seconds.size() / 2], .best = seconds[0]};
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        pool_(ThreadPoolConfig{.thread_count = options.threads}),
        compute_{.pool = pool_, .features = DetectCpuFeatures(), .scratch = &scratch_},
        memory_(AllocateOrDie(kCycledBytes)) {
    const auto isa = kernels::ChooseIsa(options.isa, compute_.features);
    if (!isa.ok()) {
      std::fprintf(stderr, "%s\n", isa.status().ToString().c_str());
      std::exit(1);
    }
    compute_.isa = *isa;
    std::memset(memory_.data(), 0, memory_.size_bytes());
  }

  void Run() {
    std::printf("isa %s, threads %zu, cpu %s\n", std::string(NameOf(compute_.isa)).c_str(),
                pool_.thread_count(), ToString(compute_.features).c_str());
    for (const WeightType type :
         {WeightType::kBF16, WeightType::kQ8, WeightType::kQ4, WeightType::kF32}) {
      for (const auto& [outputs, inputs] :
           std::vector<std::pair<size_t, size_t>>{{4096, 1024}, {32768, 1024}, {3072, 3072}}) {
        for (const size_t rows : {1, 2, 4, 8, 16, 64, 512}) {
          Product(type, WeightLayout::kPanels, outputs, inputs, rows);
        }
      }
    }
    for (const size_t rows : {1, 4, 64}) {
      Product(WeightType::kBF16, WeightLayout::kRows, 4096, 1024, rows);
    }
    for (const WeightType type : {WeightType::kBF16, WeightType::kQ8, WeightType::kQ4}) {
      // One token to eight of 128 experts, then whole batches.
      for (const auto& [experts, rows] : std::vector<std::pair<size_t, size_t>>{
               {8, 1}, {7, 1}, {1, 1}, {50, 1}, {128, 4}, {128, 32}}) {
        Experts(type, 1024, 256, experts, rows);
      }
      Experts(type, 3072, 3072, 4, 1);
      Experts(type, 3072, 3072, 16, 8);
    }
  }

 private:
  // Reads 16 MB, other ones each time.
  Seconds MeasureRead() {
    const auto words = memory_.as<uint64_t>();
    constexpr size_t kPiece = 16 * 1024;  // words: 128 KB
    std::vector<uint64_t> sums(pool_.thread_count() * 8);
    size_t offset = 0;
    const Seconds seconds = Measure(0.15, [&] {
      const uint64_t* start = words.data() + offset / 8;
      pool_.ParallelFor(kReadBytes / 8 / kPiece, 1, [&](size_t begin, size_t end, size_t worker) {
        uint64_t sum[8] = {};
        for (size_t i = begin * kPiece; i < end * kPiece; i += 8) {
          for (size_t j = 0; j < 8; ++j) sum[j] ^= start[i + j];
        }
        for (const uint64_t value : sum) sums[worker * 8] ^= value;
      });
      offset = (offset + kReadBytes) % kCycledBytes;
    });
    if (sums[0] == 1) std::printf(" ");  // the loop has a reader
    return seconds;
  }

  Seconds MeasurePeak() {
    std::vector<float> results(pool_.thread_count());
    const Seconds seconds = Measure(0.05, [&] {
      pool_.ParallelFor(pool_.thread_count(), 1, [&](size_t, size_t, size_t worker) {
        results[worker] = SpinFmas(kPeakRounds);
      });
    });
    if (results[0] == 1.0f) std::printf(" ");
    return seconds;
  }

  void Print(const std::string& name, size_t weight_bytes, size_t weights, size_t rows,
             const Seconds& seconds) {
    const Seconds read = MeasureRead();
    const Seconds peak = MeasurePeak();
    const double gb = static_cast<double>(weight_bytes) * 1e-9;
    const double read_gb = static_cast<double>(kReadBytes) * 1e-9;
    const double gflop = 2.0 * static_cast<double>(weights * rows) * 1e-9;
    const double peak_gflop =
        static_cast<double>(pool_.thread_count() * kPeakRounds * kFlopsPerFmaRound) * 1e-9;
    std::printf(
        "%-26s rows %3zu %6.2f (%6.2f) GB/s, %4.2f (%4.2f) of read %4.1f (%4.1f); "
        "%5.1f (%5.1f) GFLOP/s, %4.2f (%4.2f) of peak %3.0f (%3.0f)\n",
        name.c_str(), rows, gb / seconds.median, gb / seconds.best,
        gb / seconds.median / (read_gb / read.median), gb / seconds.best / (read_gb / read.best),
        read_gb / read.median, read_gb / read.best, gflop / seconds.median, gflop / seconds.best,
        gflop / seconds.median / (peak_gflop / peak.median),
        gflop / seconds.best / (peak_gflop / peak.best), peak_gflop / peak.median,
        peak_gflop / peak.best);
    std::fflush(stdout);
  }

  // A bf16 tensor of random numbers of either sign, near 2^-4.
  static std::vector<BF16> RandomTensor(size_t count) {
    std::vector<BF16> values(count);
    Random random(count);
    for (BF16& value : values) value.bits = static_cast<uint16_t>(random.Bits() & 0x81ff) | 0x3c00;
    return values;
  }
  static Matrix RandomRows(size_t rows, size_t cols) {
    Matrix matrix(rows, cols);
    Random random(7);
    for (float& value : matrix.values()) value = static_cast<float>(random.Uniform() - 0.5);
    return matrix;
  }
  // The next `size_bytes` of the cycled memory.
  std::span<std::byte> Take(size_t size_bytes) {
    if (used_bytes_ + size_bytes > kCycledBytes) used_bytes_ = 0;
    const std::span<std::byte> bytes(memory_.data() + used_bytes_, size_bytes);
    used_bytes_ += (size_bytes + 4095) / 4096 * 4096;
    return bytes;
  }

  void Product(WeightType type, WeightLayout layout, size_t outputs, size_t inputs, size_t rows) {
    const std::string name = std::string(NameOf(type)) +
                             (layout == WeightLayout::kRows ? " rows " : " ") +
                             std::to_string(outputs) + "x" + std::to_string(inputs);
    if (name.find(options_.only) == std::string::npos) return;
    if (options_.rows != 0 && rows != options_.rows) return;
    compute_.arithmetic = Arithmetic::kFast;
    const std::vector<BF16> values = RandomTensor(outputs * inputs);
    const TensorView tensor{.data = reinterpret_cast<const std::byte*>(values.data()),
                            .dtype = DType::kBF16,
                            .rows = outputs,
                            .cols = inputs};
    used_bytes_ = 0;
    std::vector<WeightMatrix> copies;
    const size_t size = WeightMatrix::PackedBytes(type, outputs, inputs);
    while ((copies.size() + 1) * (size + 4096) <= kCycledBytes) {
      const std::span<std::byte> bytes = Take(size);
      if (layout == WeightLayout::kRows) {
        std::memcpy(bytes.data(), tensor.data, tensor.size_bytes());
        TensorView copy = tensor;
        copy.data = bytes.data();
        copies.push_back(*WeightMatrix::Borrow(copy));
      } else {
        copies.push_back(*WeightMatrix::PackInto(tensor, type, bytes));
      }
    }
    const Matrix x = RandomRows(rows, inputs);
    Matrix y(rows, outputs);
    size_t next = 0;
    const Seconds seconds = Measure(options_.seconds, [&] {
      const kernels::MatMulTask task{&copies[next++ % copies.size()], x.view(), y.view()};
      kernels::MatMul(compute_, {&task, 1});
    });
    Print(name, size, outputs * inputs, rows, seconds);
  }

  // `experts` groups of `rows` rows each, other experts in every call.
  void Experts(WeightType type, size_t d_model, size_t width, size_t experts, size_t rows) {
    const std::string name = "experts " + std::string(NameOf(type)) + " " +
                             std::to_string(experts) + " x " + std::to_string(d_model) + "/" +
                             std::to_string(width);
    if (name.find(options_.only) == std::string::npos) return;
    if (options_.rows != 0 && rows != options_.rows) return;
    compute_.arithmetic = Arithmetic::kFast;
    const std::vector<BF16> values = RandomTensor(width * d_model);
    TensorView tensor{.data = reinterpret_cast<const std::byte*>(values.data()),
                      .dtype = DType::kBF16,
                      .rows = width,
                      .cols = d_model};
    const size_t gate_up = WeightMatrix::PackedGateUpBytes(type, width, d_model);
    const size_t down = WeightMatrix::PackedBytes(type, d_model, width);
    used_bytes_ = 0;
    std::vector<kernels::SwiGluWeights> networks;
    while ((networks.size() + 1) * (gate_up + down + 8192) <= kCycledBytes) {
      tensor.rows = width;
      tensor.cols = d_model;
      networks.emplace_back();
      networks.back().gate_up = *WeightMatrix::PackGateUpInto(tensor, tensor, type, Take(gate_up));
      tensor.rows = d_model;
      tensor.cols = width;
      networks.back().down = *WeightMatrix::PackInto(tensor, type, Take(down));
    }
    const Matrix x = RandomRows(rows, d_model);
    Matrix out(rows * experts, d_model);
    std::vector<uint32_t> indices(rows);
    for (size_t r = 0; r < rows; ++r) indices[r] = static_cast<uint32_t>(r);
    const std::vector<float> row_weights(rows, 0.5f);
    size_t next = 0;
    std::vector<kernels::ExpertGroup> groups(experts);
    const Seconds seconds = Measure(options_.seconds, [&] {
      for (kernels::ExpertGroup& group : groups) {
        group = {&networks[next++ % networks.size()], indices, row_weights};
      }
      kernels::GroupedSwiGlu(compute_, groups, x.view(), out.view());
    });
    Print(name, experts * (gate_up + down), experts * 3 * width * d_model, rows, seconds);
  }

  const Options options_;
  ThreadPool pool_;
  kernels::Scratch scratch_;
  Compute compute_;
  AlignedBuffer memory_;
  size_t used_bytes_ = 0;
};

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  tessera::bench::Bench(tessera::bench::ParseOptions(argc, argv)).Run();
  return 0;
}
