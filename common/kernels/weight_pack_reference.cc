#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/kernels/weight_pack.h"
#include "common/tensor/dtype.h"

namespace tessera::kernels {
namespace {

using Block = std::array<std::array<float, kBlockInputs>, kPanelOutputs>;

float LoadWeight(const PanelSource& source, size_t output, size_t k) {
  if (source.is_bf16) {
    BF16 value;
    std::memcpy(&value, source.rows[output] + k * sizeof(value), sizeof(value));
    return ToFloat(value);
  }
  float value;
  std::memcpy(&value, source.rows[output] + k * sizeof(value), sizeof(value));
  return value;
}

std::byte* Line(WeightType type, std::byte* block, size_t output, size_t line) {
  return block + TileOffset(type, output / kTileOutputs) + line * kLineBytes;
}

bool PackFloats(const Block& weights, std::byte* block) {
  for (size_t n = 0; n < kPanelOutputs; ++n) {
    for (size_t k = 0; k < kBlockInputs; ++k) {
      if (!std::isfinite(weights[n][k])) return false;
      std::byte* line = Line(WeightType::kF32, block, n, k);
      std::memcpy(line + n % kTileOutputs * sizeof(float), &weights[n][k], sizeof(float));
    }
  }
  return true;
}

bool PackBF16(const Block& weights, std::byte* block) {
  for (size_t n = 0; n < kPanelOutputs; ++n) {
    for (size_t k = 0; k < kBlockInputs; ++k) {
      const BF16 value = ToBF16(weights[n][k]);
      if (!std::isfinite(ToFloat(value))) return false;
      std::byte* line = Line(WeightType::kBF16, block, n, k / 2);
      std::memcpy(line + n % kTileOutputs * 4 + k % 2 * 2, &value, sizeof(value));
    }
  }
  return true;
}

float InverseOf(F16 scale) { return (scale.bits & 0x7fff) == 0 ? 0.0f : 1.0f / ToFloat(scale); }

// A scale that overflows F16 saturates: the weights above 127 * 65504 saturate with it.
F16 SaturatedF16(float value) { return ToF16(std::clamp(value, -65504.0f, 65504.0f)); }

bool PackQ8(const Block& weights, std::byte* block) {
  for (size_t n = 0; n < kPanelOutputs; ++n) {
    float absmax = 0;
    for (const float w : weights[n]) {
      if (!std::isfinite(w)) return false;
      absmax = std::max(absmax, std::fabs(w));
    }
    const F16 scale = SaturatedF16(absmax / 127.0f);
    std::memcpy(block + n * sizeof(scale), &scale, sizeof(scale));
    const float inverse = InverseOf(scale);
    for (size_t k = 0; k < kBlockInputs; ++k) {
      const float value = std::clamp(std::nearbyint(weights[n][k] * inverse), -127.0f, 127.0f);
      Line(WeightType::kQ8, block, n, k / 4)[n % kTileOutputs * 4 + k % 4] =
          static_cast<std::byte>(static_cast<int8_t>(value));
    }
  }
  return true;
}

bool PackQ4(const Block& weights, std::byte* block) {
  for (size_t n = 0; n < kPanelOutputs; ++n) {
    float high = 0;
    float low = 0;
    for (const float w : weights[n]) {
      if (!std::isfinite(w)) return false;
      high = std::max(high, w);
      low = std::min(low, w);
    }
    const F16 scale = SaturatedF16((high >= -low ? high : low) / -8.0f);
    std::memcpy(block + n * sizeof(scale), &scale, sizeof(scale));
    const float inverse = InverseOf(scale);
    for (size_t k = 0; k < kBlockInputs; ++k) {
      const float value = std::clamp(std::nearbyint(weights[n][k] * inverse), -8.0f, 7.0f);
      const auto nibble = static_cast<uint8_t>(static_cast<int>(value) + 8);
      std::byte& byte = Line(WeightType::kQ4, block, n, k / 4 % 4)[n % kTileOutputs * 4 + k % 4];
      // Inputs 0..15 come first and are the low nibbles.
      byte = k < 16 ? static_cast<std::byte>(nibble)
                    : byte | static_cast<std::byte>(static_cast<uint8_t>(nibble << 4));
    }
  }
  return true;
}

bool PackBlock(const Block& weights, WeightType type, std::byte* block) {
  switch (type) {
    case WeightType::kF32:
      return PackFloats(weights, block);
    case WeightType::kBF16:
      return PackBF16(weights, block);
    case WeightType::kQ8:
      return PackQ8(weights, block);
    case WeightType::kQ4:
      return PackQ4(weights, block);
  }
  return false;
}

}  // namespace

bool PackPanelReference(const PanelSource& source, WeightType type, std::byte* panel) {
  for (size_t begin = 0; begin < source.inputs; begin += kBlockInputs) {
    Block weights{};
    const size_t count = std::min(kBlockInputs, source.inputs - begin);
    for (size_t n = 0; n < kPanelOutputs; ++n) {
      for (size_t k = 0; k < count; ++k) weights[n][k] = LoadWeight(source, n, begin + k);
    }
    if (!PackBlock(weights, type, panel)) return false;
    panel += BlockBytes(type);
  }
  return true;
}

}  // namespace tessera::kernels
