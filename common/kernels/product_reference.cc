#include "common/kernels/product_reference.h"

#include <vector>

#include "common/kernels/scalar_math.h"
#include "common/tensor/matrix.h"

namespace tessera::kernels {
namespace {

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// Columns [0, y.cols()) of x W^T, for outputs `first` and on.
void MultiplyReference(const WeightMatrix& weights, size_t first, ConstMatrixView x, MatrixView y) {
  std::vector<float> row(weights.inputs());
  for (size_t n = 0; n < y.cols(); ++n) {
    weights.ReadRow(first + n, row);
    for (size_t r = 0; r < x.rows(); ++r) y.row(r)[n] = static_cast<float>(Dot(x.row(r), row));
  }
}

}  // namespace

void MatMulReference(std::span<const MatMulTask> tasks) {
  for (const MatMulTask& task : tasks) MultiplyReference(*task.weights, 0, task.x, task.y);
}

void SwiGluReference(const SwiGluWeights& weights, ConstMatrixView x, MatrixView y) {
  const bool woven = !weights.gate_up.empty();
  Matrix gate(x.rows(), weights.width());
  Matrix up(x.rows(), weights.width());
  MultiplyReference(woven ? weights.gate_up : weights.gate, 0, x, gate.view());
  MultiplyReference(woven ? weights.gate_up : weights.up, woven ? weights.gate_up.outputs() / 2 : 0,
                    x, up.view());
  for (size_t i = 0; i < gate.values().size(); ++i) {
    gate.values()[i] = Silu(gate.values()[i]) * up.values()[i];
  }
  MultiplyReference(weights.down, 0, gate.view(), y);
}

void GroupedSwiGluReference(std::span<const ExpertGroup> groups, const RowSource& x,
                            MatrixView out) {
  size_t pair = 0;
  for (const ExpertGroup& group : groups) {
    for (size_t i = 0; i < group.rows.size(); ++i, ++pair) {
      const MatrixView y = out.Rows(pair, 1);
      SwiGluReference(*group.weights, ConstMatrixView(x.row(group.rows[i]), 1, x.cols()), y);
      for (float& value : y.row(0)) value *= group.row_weights[i];
    }
  }
}

}  // namespace tessera::kernels
