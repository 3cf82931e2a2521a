#pragma once

// A random model small enough for central differences, in any number type.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "common/base/random.h"
#include "services/trainer/backward/row_pass.h"
#include "tests/support/tiny_model.h"

namespace tessera::trainer {

inline ModelSpec SmallSpec() {
  ModelSpec spec = testing::TinySpec();
  spec.d_model = 24;
  spec.layer_count = 4;
  spec.dense_width = 20;
  spec.expert_width = 12;
  spec.expert_count = 8;
  spec.vocab = 40;
  return spec;
}

template <typename T>
struct SmallModel {
  explicit SmallModel(const ModelSpec& spec) : layout(*ParameterLayout::Of(spec)) {
    values.resize(layout.size);
    packed.resize(layout.packed_size);
    for (const Parameter& parameter : layout.parameters) {
      for (size_t i = 0; i < parameter.count; ++i) {
        const std::string name = absl::StrReplaceAll(parameter.name, {{"{}", std::to_string(i)}});
        const std::vector<float> numbers =
            testing::TinyWeights(name, parameter.rows, parameter.cols, 7);
        std::copy(numbers.begin(), numbers.end(),
                  values.begin() + static_cast<ptrdiff_t>(parameter.offset + i * parameter.stride));
      }
    }
    Random random(11);
    for (size_t i = 0; i < spec.moe_layer_count() * spec.expert_count; ++i) {
      expert_bias.push_back(static_cast<T>(0.2 * random.Uniform()));
    }
    Pack();
  }
  void Pack() {
    for (const Linear& linear : layout.linears) {
      PackLinear(linear, values.data(), packed.data());
    }
  }
  WeightView<T> view() const { return {values.data(), packed.data(), expert_bias.data()}; }

  ParameterLayout layout;
  std::vector<T> values;
  std::vector<T> packed;
  std::vector<T> expert_bias;
};

// Random documents of the given lengths; every third token without loss.
inline PackedRow SmallRow(const ModelSpec& spec, const std::vector<size_t>& lengths,
                          uint64_t seed) {
  PackedRow row;
  Random random(seed);
  row.documents.push_back(0);
  for (const size_t length : lengths) {
    for (size_t i = 0; i < length; ++i) {
      row.ids.push_back(static_cast<int32_t>(random.Below(spec.vocab)));
      const bool has_loss = i + 1 < length && random.Below(3) > 0;
      row.targets.push_back(has_loss ? static_cast<int32_t>(random.Below(spec.vocab))
                                     : PackedRow::kNoLoss);
    }
    row.documents.push_back(static_cast<uint32_t>(row.ids.size()));
  }
  return row;
}

}  // namespace tessera::trainer
