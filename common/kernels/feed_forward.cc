#include "common/kernels/feed_forward.h"

#include "common/base/check.h"

namespace tessera::kernels {
namespace {

void CheckShapes(const SwiGluWeights& weights) {
  const size_t d_model = weights.d_model();
  const size_t width = weights.width();
  TESSERA_CHECK(d_model > 0 && width > 0);
  if (!weights.gate_up.empty()) {
    const size_t padded = (width + kTileOutputs - 1) / kTileOutputs * kTileOutputs;
    TESSERA_CHECK(weights.gate_up.is_gate_up() && weights.gate_up.outputs() == 2 * padded);
    TESSERA_CHECK(weights.gate_up.inputs() == d_model);
    return;
  }
  for (const WeightMatrix* matrix : {&weights.gate, &weights.up}) {
    TESSERA_CHECK(matrix->outputs() == width && matrix->inputs() == d_model);
  }
  TESSERA_CHECK(weights.gate.type() == weights.up.type() &&
                weights.gate.layout() == weights.up.layout());
}

}  // namespace

FeedForward::FeedForward(const Compute& compute, const SwiGluWeights& weights, size_t rows)
    : kernels_(&StripKernelsOf(compute.isa, compute.features)),
      width_(weights.width()),
      act_stride_(PanelCount(weights.width()) * kPanelOutputs),
      woven_(!weights.gate_up.empty()) {
  CheckShapes(weights);
  gate_ = Product(compute, woven_ ? weights.gate_up : weights.gate, rows);
  if (!woven_) up_ = Product(compute, weights.up, rows);
  down_ = Product(compute, weights.down, rows);
}

size_t FeedForward::scratch_bytes() const {
  return gate_.form_bytes() + down_.form_bytes() + rows() * act_stride_ * sizeof(float);
}

void FeedForward::Place(std::byte* scratch) {
  gate_.set_converted(scratch);
  if (!woven_) up_.set_converted(scratch);
  scratch += gate_.form_bytes();
  down_.set_converted(scratch);
  act_ = reinterpret_cast<float*>(scratch + down_.form_bytes());
}

void FeedForward::RunAct(size_t begin, size_t end) const {
  alignas(64) float out[kPassRows * kPanelOutputs];
  alignas(64) float up_out[kPassRows * kPanelOutputs];
  const size_t columns = woven_ ? kTileOutputs : kPanelOutputs;
  ForEachPass(begin, end, act_strip_bytes(), rows(), [&](size_t strip, size_t first, size_t count) {
    gate_.MultiplyStrip(strip, first, count, out);
    if (!woven_) up_.MultiplyStrip(strip, first, count, up_out);
    const float* up = woven_ ? out + kTileOutputs : up_out;
    float* act = act_ + first * act_stride_ + strip * columns;
    for (size_t r = 0; r < count; ++r) {
      kernels_->silu_mul(out + r * kPanelOutputs, up + r * kPanelOutputs, columns,
                         act + r * act_stride_);
    }
  });
  gate_.ReleaseThread();
}

void FeedForward::RunDown(size_t begin, size_t end, std::span<const float> row_weights,
                          MatrixView y) const {
  if (row_weights.empty()) {
    MultiplyInto(down_, begin, end, y);
    return;
  }
  alignas(64) float out[kPassRows * kPanelOutputs];
  ForEachPass(begin, end, down_.strip_bytes(), rows(),
              [&](size_t strip, size_t first, size_t count) {
                const size_t column = strip * kPanelOutputs;
                const size_t columns = std::min(kPanelOutputs, y.cols() - column);
                down_.MultiplyStrip(strip, first, count, out);
                for (size_t r = 0; r < count; ++r) {
                  const float weight = row_weights[first + r];
                  float* to = y.row(first + r).data() + column;
                  for (size_t c = 0; c < columns; ++c) to[c] = weight * out[r * kPanelOutputs + c];
                }
              });
  down_.ReleaseThread();
}

}  // namespace tessera::kernels
