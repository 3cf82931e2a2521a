#include "common/kernels/rope.h"

#include <cmath>

#include "common/base/check.h"
#include "common/kernels/parallel_rows.h"
#include "common/kernels/rope_row.h"

namespace tessera::kernels {

Rope::Rope(size_t head_dim, double theta) : head_dim_(head_dim) {
  TESSERA_CHECK(head_dim > 0 && head_dim % 2 == 0 && theta > 0);
  for (size_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    inverse_frequencies_.push_back(static_cast<float>(std::pow(theta, exponent)));
  }
}

void Rope::Apply(const Compute& compute, std::span<const uint32_t> positions, MatrixView x) const {
  TESSERA_CHECK(positions.size() == x.rows() && x.cols() % head_dim_ == 0);
  const size_t half = head_dim_ / 2;
  const size_t padded_half = (half + 7) / 8 * 8;
  const bool fast = compute.isa >= Isa::kAvx2;
  const RopeRotate rotate = fast ? RopeRotateAvx2 : RopeRotateReference;
  ForRows(compute, x.rows(), x.cols() + head_dim_, [&](size_t begin, size_t end) {
    std::vector<float> turns(2 * padded_half);
    float* const cosines = turns.data();
    float* const sines = cosines + padded_half;
    for (size_t i = begin; i < end; ++i) {
      const auto position = static_cast<float>(positions[i]);
      const RopeAngles angles =
          fast && position <= kRopeVectorPositionMax ? RopeAnglesAvx2 : RopeAnglesReference;
      angles(inverse_frequencies_.data(), half, position, cosines, sines);
      rotate(cosines, sines, half, x.cols() / head_dim_, x.row(i).data());
    }
  });
}

}  // namespace tessera::kernels
