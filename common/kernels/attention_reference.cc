#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/kernels/attention_span.h"
#include "common/kernels/scalar_math.h"
#include "common/tensor/dtype.h"

namespace tessera::kernels {
namespace {

float Load(KvType type, const std::byte* numbers, size_t i) {
  if (type == KvType::kF32) {
    float value;
    std::memcpy(&value, numbers + i * sizeof(value), sizeof(value));
    return value;
  }
  BF16 value;
  std::memcpy(&value, numbers + i * sizeof(value), sizeof(value));
  return ToFloat(value);
}

void Store(KvType type, float value, std::byte* numbers, size_t i) {
  if (type == KvType::kF32) {
    std::memcpy(numbers + i * sizeof(value), &value, sizeof(value));
    return;
  }
  const BF16 rounded = ToBF16(value);
  std::memcpy(numbers + i * sizeof(rounded), &rounded, sizeof(rounded));
}

}  // namespace

void AttendQueryReference(const QueryTask& task, const float* query, float* out) {
  const KvLayerView& kv = task.kv;
  const size_t dim = kv.head_dim;
  const size_t head_bytes = dim * kKvBlockTokens * SizeOf(kv.type);
  const auto block_of = [&](size_t token) {
    return kv.base + task.row.blocks[token / kKvBlockTokens] * kv.block_stride_bytes +
           task.kv_head * head_bytes;
  };
  std::vector<double> scores;
  double max = -std::numeric_limits<double>::infinity();
  for (size_t token = task.begin; token < task.end; ++token) {
    double dot = 0;
    for (size_t i = 0; i < dim; ++i) {
      const size_t place = i * kKvBlockTokens + token % kKvBlockTokens;
      dot += static_cast<double>(query[i]) * Load(kv.type, block_of(token), place);
    }
    scores.push_back(dot / std::sqrt(static_cast<double>(dim)));
    max = std::max(max, scores.back());
  }
  double sum = 0;
  std::vector<double> weighted(dim);
  for (size_t token = task.begin; token < task.end; ++token) {
    const double weight = std::exp(scores[token - task.begin] - max);
    const std::byte* const values = block_of(token) + kv.values_offset_bytes();
    sum += weight;
    for (size_t i = 0; i < dim; ++i) {
      weighted[i] += weight * Load(kv.type, values, token % kKvBlockTokens * dim + i);
    }
  }
  for (size_t i = 0; i < dim; ++i) out[i] = static_cast<float>(weighted[i] / sum);
}

void StoreTokenReference(KvType type, size_t head_dim, const float* k, const float* v, size_t slot,
                         std::byte* keys, std::byte* values) {
  for (size_t i = 0; i < head_dim; ++i) {
    Store(type, k[i], keys, i * kKvBlockTokens + slot);
    Store(type, v[i], values, slot * head_dim + i);
  }
}

void SigmoidGateReference(const float* gate, size_t count, float* x) {
  for (size_t i = 0; i < count; ++i) x[i] *= Sigmoid(gate[i]);
}

}  // namespace tessera::kernels
