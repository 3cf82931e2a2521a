#include "services/router/sampling/row_math.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "common/base/check.h"
#include "common/kernels/reduce.h"
#include "common/kernels/top_k.h"

namespace tessera::router {
namespace {

// Values handled side by side: independent chains that fill the vector units, and a fixed order of
// summation.
constexpr size_t kLanes = 16;

// For x <= 0. Comparisons are made on the bits of -x: those of floats may trap, which makes the
// compiler keep branches and leave loops scalar. exp(x) = 2^n exp(r) with r in
// [-ln2 / 2, ln2 / 2]; the Taylor series up to r^7 leaves r^8 / 8! < 6e-9.
inline float ExpLane(float x) {
  constexpr int32_t kLargest = std::bit_cast<int32_t>(87.0f);
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0x1.62e4p-1f;  // 17 bits: n * kLn2High is exact for n < 128
  constexpr float kLn2Low = 1.42860677e-6f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const int32_t magnitude = std::bit_cast<int32_t>(x) & 0x7fffffff;
  const float clamped = -std::bit_cast<float>(magnitude < kLargest ? magnitude : kLargest);
  const float rounded = clamped * kLog2E + kRound;
  const float n = rounded - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float sum = 1.0f / 5040.0f;
  sum = sum * r + 1.0f / 720.0f;
  sum = sum * r + 1.0f / 120.0f;
  sum = sum * r + 1.0f / 24.0f;
  sum = sum * r + 1.0f / 6.0f;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  const uint32_t exponent =
      std::bit_cast<uint32_t>(rounded) - std::bit_cast<uint32_t>(kRound) + 127;
  const float power = std::bit_cast<float>(exponent << 23);
  const uint32_t keep = magnitude <= kLargest ? 0xffffffffu : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(sum * power) & keep);
}

}  // namespace

size_t FirstNonFinite(std::span<const float> values) {
  if (kernels::AllFinite(values)) return values.size();
  const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  return static_cast<size_t>(bad - values.begin());
}

float MaxOf(std::span<const float> values) { return kernels::MaxOf(values); }

size_t ArgMax(std::span<const float> values) { return kernels::ArgMax(values); }

size_t CountAbove(std::span<const float> values, float bound) {
  size_t count = 0;
  for (const float value : values) count += value > bound ? 1 : 0;
  return count;
}

float ExpNonPositive(float x) { return ExpLane(x); }

double ExpShifted(std::span<const float> values, float max, float scale, std::span<float> out) {
  TESSERA_CHECK(out.empty() || out.size() == values.size());
  // One plain loop for the exponentials of a piece, one for its sum: together in one loop the
  // compiler unrolls the lanes first and then leaves them scalar.
  constexpr size_t kPiece = 1024;
  std::array<float, kPiece> piece;
  std::array<double, kLanes> sums{};
  for (size_t begin = 0; begin < values.size(); begin += kPiece) {
    const size_t count = std::min(kPiece, values.size() - begin);
    const float* in = values.data() + begin;
    for (size_t i = 0; i < count; ++i) piece[i] = ExpLane((in[i] - max) * scale);
    // Zeros fill the last lanes: they change no sum.
    const size_t padded = (count + kLanes - 1) / kLanes * kLanes;
    std::fill(piece.begin() + static_cast<long>(count), piece.begin() + static_cast<long>(padded),
              0.0f);
    for (size_t i = 0; i < padded; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        sums[lane] += static_cast<double>(piece[i + lane]);
      }
    }
    if (!out.empty()) {
      std::copy_n(piece.begin(), count, out.begin() + static_cast<long>(begin));
    }
  }
  double sum = 0.0;
  for (const double lane : sums) sum += lane;
  return sum;
}

std::vector<uint32_t> LargestIndices(std::span<const float> values, size_t count) {
  return kernels::TopK(values, count);
}

}  // namespace tessera::router
