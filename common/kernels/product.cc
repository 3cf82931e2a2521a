#include "common/kernels/product.h"

#include <cstring>

#include "common/base/check.h"

namespace tessera::kernels {
namespace {

// Below this a parallel region costs more than it saves.
constexpr size_t kParallelElements = 32 * 1024;
constexpr size_t kGroupBytes = 256 * 1024;
constexpr size_t kPieceBytes = 512 * 1024;
constexpr size_t kPiecesPerThread = 16;

}  // namespace

Product::Product(const Compute& compute, const WeightMatrix& weights, size_t rows)
    : kernels_(&StripKernelsOf(compute.isa, compute.features)),
      weights_(&weights),
      kind_{.type = weights.type(),
            .layout = weights.layout(),
            .arithmetic = compute.arithmetic,
            .batch_invariant = compute.batch_invariant,
            .rows = rows} {
  TESSERA_CHECK(!weights.empty() && rows > 0);
  form_ = kernels_->form(kind_);
}

size_t Product::form_bytes() const {
  return kernels_->form_bytes(form_, kind_.rows, weights_->inputs());
}

void Product::ConvertRows(const Compute& compute, ConstMatrixView x) const {
  const size_t inputs = weights_->inputs();
  if (x.rows() * inputs < kParallelElements) {
    for (size_t r = 0; r < x.rows(); ++r) ConvertRow(r, x.row(r).data());
    return;
  }
  const size_t grain = std::max<size_t>(1, kParallelElements / 4 / inputs);
  compute.pool.ParallelFor(x.rows(), grain, [&](size_t begin, size_t end, size_t) {
    for (size_t r = begin; r < end; ++r) ConvertRow(r, x.row(r).data());
  });
}

void Product::MultiplyStrip(size_t strip, size_t row_begin, size_t row_count, float* out) const {
  const size_t inputs = weights_->inputs();
  const size_t stride = kind_.layout == WeightLayout::kPanels
                            ? PanelBytes(kind_.type, inputs)
                            : kPanelOutputs * inputs * (kind_.type == WeightType::kF32 ? 4 : 2);
  kernels_->multiply({
      .kind = kind_,
      .form = form_,
      .weights = weights_->data() + strip * stride,
      .outputs = std::min(kPanelOutputs, weights_->outputs() - strip * kPanelOutputs),
      .inputs = inputs,
      .rows = converted_,
      .row_begin = row_begin,
      .row_count = row_count,
      .out = out,
  });
}

void ForEachPass(size_t begin, size_t end, size_t strip_bytes, size_t rows,
                 absl::FunctionRef<void(size_t strip, size_t row_begin, size_t row_count)> run) {
  const size_t group = std::max<size_t>(1, kGroupBytes / std::max<size_t>(strip_bytes, 1));
  for (; begin < end; begin += group) {
    for (size_t first = 0; first < rows; first += kPassRows) {
      const size_t count = std::min(kPassRows, rows - first);
      for (size_t strip = begin; strip < std::min(end, begin + group); ++strip) {
        run(strip, first, count);
      }
    }
  }
}

void MultiplyInto(const Product& product, size_t begin, size_t end, MatrixView y) {
  alignas(64) float out[kPassRows * kPanelOutputs];
  ForEachPass(begin, end, product.strip_bytes(), product.rows(),
              [&](size_t strip, size_t first, size_t count) {
                const size_t column = strip * kPanelOutputs;
                const size_t bytes = std::min(kPanelOutputs, y.cols() - column) * sizeof(float);
                product.MultiplyStrip(strip, first, count, out);
                for (size_t r = 0; r < count; ++r) {
                  std::memcpy(y.row(first + r).data() + column, out + r * kPanelOutputs, bytes);
                }
              });
  product.ReleaseThread();
}

size_t StripGrain(size_t strip_count, size_t strip_bytes, size_t thread_count) {
  const size_t by_size = kPieceBytes / std::max<size_t>(strip_bytes, 1);
  const size_t by_count = strip_count / (thread_count * kPiecesPerThread);
  return std::max<size_t>(1, std::min(by_size, by_count));
}

}  // namespace tessera::kernels
