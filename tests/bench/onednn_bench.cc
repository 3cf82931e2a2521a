// Our matrix products beside oneDNN's, the same sizes and threads, in turns. Built where Debian's
// libdnnl-dev is installed; nothing else uses it.
//
//   GOMP_SPINCOUNT=1000 onednn_bench [seconds a case, 0.5]
//
// A line is one case: median microseconds of ours and of oneDNN, and oneDNN's time over ours (above
// 1 ours is faster). q8 of ours has a scale for each 32 inputs of an output; oneDNN's int8 has one
// for an output, takes its rows already as bytes, and so has less to do. Weights cycle through 256
// MB.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/kernels/matmul.h"
#include "common/tensor/dtype.h"
#include "common/tensor/matrix.h"

namespace tessera::bench {
namespace {

using dnnl::memory;
using kernels::WeightMatrix;
using kernels::WeightType;

constexpr size_t kCycledBytes = size_t{256} << 20;

struct Shape {
  size_t outputs;
  size_t inputs;
  size_t rows;
};

using Call = std::function<void()>;

// oneDNN's product of rows [rows, inputs] in `x_type` with weights in `w_type`, to float32.
class OneDnnProduct {
 public:
  OneDnnProduct(const Shape& shape, memory::data_type x_type, memory::data_type w_type)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const auto dim = [](size_t n) { return static_cast<memory::dim>(n); };
    const memory::desc x({dim(shape.rows), dim(shape.inputs)}, x_type, memory::format_tag::ab);
    const memory::desc w({dim(shape.inputs), dim(shape.outputs)}, w_type, memory::format_tag::any);
    const memory::desc y({dim(shape.rows), dim(shape.outputs)}, memory::data_type::f32,
                         memory::format_tag::ab);
    const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(x, w, y), engine_);
    product_ = dnnl::matmul(chosen);
    x_ = memory(chosen.src_desc(), engine_);
    y_ = memory(chosen.dst_desc(), engine_);
    Fill(x_);
    const size_t copies = std::max<size_t>(1, kCycledBytes / chosen.weights_desc().get_size());
    for (size_t i = 0; i < copies; ++i) {
      weights_.emplace_back(chosen.weights_desc(), engine_);
      Fill(weights_.back());
    }
  }

  void Run() {
    memory& w = weights_[next_++ % weights_.size()];
    product_.execute(stream_, {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y_}});
    stream_.wait();
  }

 private:
  // Bytes that are small numbers in each of the types.
  static void Fill(memory& to) {
    auto* bytes = static_cast<uint8_t*>(to.get_data_handle());
    std::fill(bytes, bytes + to.get_desc().get_size(), uint8_t{0x3c});
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul product_;
  memory x_;
  memory y_;
  std::vector<memory> weights_;
  size_t next_ = 0;
};

class OurProduct {
 public:
  OurProduct(const kernels::Compute& compute, const Shape& shape, WeightType type)
      : compute_(compute), x_(shape.rows, shape.inputs), y_(shape.rows, shape.outputs) {
    Random random(7);
    for (float& value : x_.values()) value = static_cast<float>(random.Uniform() - 0.5);
    const std::vector<BF16> values(shape.outputs * shape.inputs, BF16{0x3c3c});
    const TensorView tensor{.data = reinterpret_cast<const std::byte*>(values.data()),
                            .dtype = DType::kBF16,
                            .rows = shape.outputs,
                            .cols = shape.inputs};
    const size_t size = WeightMatrix::PackedBytes(type, shape.outputs, shape.inputs);
    while (weights_.empty() || weights_.size() * size < kCycledBytes) {
      weights_.push_back(*WeightMatrix::Pack(tensor, type));
    }
  }

  void Run() {
    const kernels::MatMulTask task{&weights_[next_++ % weights_.size()], x_.view(), y_.view()};
    kernels::MatMul(compute_, {&task, 1});
  }

 private:
  const kernels::Compute& compute_;
  Matrix x_;
  Matrix y_;
  std::vector<WeightMatrix> weights_;
  size_t next_ = 0;
};

double MedianMicroseconds(std::vector<double>& seconds) {
  std::sort(seconds.begin(), seconds.end());
  return 1e6 * seconds[seconds.size() / 2];
}

void Compare(ThreadPool& pool, const std::string& name, const Shape& shape, double budget,
             const Call& ours, const Call& theirs) {
  const RealClock clock;
  std::vector<double> times[2];
  double total = 0;
  while (total < budget || times[0].size() < 5) {
    for (size_t side = 0; side < 2; ++side) {
      pool.Rest();  // our idle workers leave the processors to oneDNN
      const absl::Duration start = clock.Elapsed();
      for (int i = 0; i < 4; ++i) (side == 0 ? ours : theirs)();
      times[side].push_back(absl::ToDoubleSeconds(clock.Elapsed() - start) / 4);
      total += 4 * times[side].back();
    }
  }
  const double us[2] = {MedianMicroseconds(times[0]), MedianMicroseconds(times[1])};
  std::printf("%-28s %5zux%-5zu rows %3zu  ours %9.1f us  oneDNN %9.1f us  %.2f\n", name.c_str(),
              shape.outputs, shape.inputs, shape.rows, us[0], us[1], us[1] / us[0]);
  std::fflush(stdout);
}

void Run(double budget) {
  ThreadPool pool(ThreadPoolConfig{});
  kernels::Scratch scratch;
  kernels::Compute compute{.pool = pool, .features = DetectCpuFeatures(), .scratch = &scratch};
  const auto isa = kernels::ChooseIsa("auto", compute.features);
  TESSERA_CHECK(isa.ok());
  compute.isa = *isa;
  compute.arithmetic = kernels::Arithmetic::kFast;
  std::printf("%s, %zu threads\n", ToString(compute.features).c_str(), pool.thread_count());
  for (const size_t rows : {1, 4, 32, 512}) {
    for (const Shape& shape : {Shape{4096, 1024, rows}, Shape{3072, 3072, rows}}) {
      OurProduct bf16(compute, shape, WeightType::kBF16);
      OurProduct q8(compute, shape, WeightType::kQ8);
      OneDnnProduct f32(shape, memory::data_type::f32, memory::data_type::f32);
      OneDnnProduct int8(shape, memory::data_type::u8, memory::data_type::s8);
      Compare(
          pool, "bf16, oneDNN f32", shape, budget, [&] { bf16.Run(); }, [&] { f32.Run(); });
      if (compute.features.avx512_bf16) {
        OneDnnProduct half(shape, memory::data_type::bf16, memory::data_type::bf16);
        Compare(
            pool, "bf16, oneDNN bf16", shape, budget, [&] { bf16.Run(); }, [&] { half.Run(); });
      }
      Compare(
          pool, "q8, oneDNN int8", shape, budget, [&] { q8.Run(); }, [&] { int8.Run(); });
    }
  }
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  tessera::bench::Run(argc > 1 ? std::strtod(argv[1], nullptr) : 0.5);
  return 0;
}
