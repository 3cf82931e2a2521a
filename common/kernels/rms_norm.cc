#include "common/kernels/rms_norm.h"

#include "common/base/check.h"
#include "common/kernels/parallel_rows.h"
#include "common/kernels/rms_norm_row.h"

namespace tessera::kernels {

void RmsNorm(const Compute& compute, ConstMatrixView x, std::span<const float> weight, float eps,
             MatrixView out) {
  TESSERA_CHECK(x.rows() == out.rows() && x.cols() == out.cols() && weight.size() == x.cols());
  const NormRow norm = compute.isa >= Isa::kAvx2 ? NormRowAvx2 : NormRowReference;
  ForRows(compute, x.rows(), x.cols(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      norm(x.row(i).data(), weight.data(), eps, x.cols(), out.row(i).data());
    }
  });
}

void AddRmsNorm(const Compute& compute, ConstMatrixView x, std::span<const float> weight, float eps,
                MatrixView hidden) {
  TESSERA_CHECK(x.rows() == hidden.rows() && x.cols() == hidden.cols() &&
                weight.size() == x.cols());
  const NormRow norm = compute.isa >= Isa::kAvx2 ? AddNormRowAvx2 : AddNormRowReference;
  ForRows(compute, x.rows(), x.cols(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      norm(x.row(i).data(), weight.data(), eps, x.cols(), hidden.row(i).data());
    }
  });
}

void RmsNormHeads(const Compute& compute, MatrixView x, std::span<const float> weight, float eps) {
  const size_t head_dim = weight.size();
  TESSERA_CHECK(head_dim > 0 && x.cols() % head_dim == 0);
  const NormRow norm = compute.isa >= Isa::kAvx2 ? NormRowAvx2 : NormRowReference;
  ForRows(compute, x.rows(), x.cols(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      float* const row = x.row(i).data();
      for (size_t head = 0; head < x.cols(); head += head_dim) {
        norm(row + head, weight.data(), eps, head_dim, row + head);
      }
    }
  });
}

}  // namespace tessera::kernels
