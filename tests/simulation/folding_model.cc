#include "tests/simulation/folding_model.h"

#include <algorithm>

#include "common/base/random.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

uint64_t Fold(uint64_t hash, uint64_t value) { return MixBits(hash ^ MixBits(value)); }

uint64_t EmbedToken(TokenId token, size_t position) {
  return Fold(static_cast<uint64_t>(token), position);
}

// The row that travels: 16 bits a number.
void WriteRow(uint64_t hidden, std::span<float> row) {
  for (size_t i = 0; i < kFoldingWidth; ++i) {
    row[i] = static_cast<float>((hidden >> (16 * i)) & 0xffff);
  }
}

struct Choice {
  uint32_t expert = 0;
  float weight = 0;
};

// top_k distinct experts, ascending, with weights 1 to 4.
std::vector<Choice> Gate(const FoldingShape& shape, size_t layer, uint64_t hidden) {
  const uint64_t seed = Fold(hidden, layer);
  std::vector<Choice> choices;
  for (uint64_t draw = 0; choices.size() < shape.top_k; ++draw) {
    const auto expert = static_cast<uint32_t>(RandomBits(seed, draw) % shape.experts);
    if (std::any_of(choices.begin(), choices.end(),
                    [&](const Choice& choice) { return choice.expert == expert; })) {
      continue;
    }
    choices.push_back({expert, static_cast<float>(1 + RandomBits(seed, 1000 + draw) % 4)});
  }
  std::sort(choices.begin(), choices.end(),
            [](const Choice& a, const Choice& b) { return a.expert < b.expert; });
  return choices;
}

uint64_t FoldSum(uint64_t hidden, std::span<const float> sum) {
  for (const float value : sum) hidden = Fold(hidden, static_cast<uint64_t>(value));
  return hidden;
}

size_t WindowBegin(const FoldingShape& shape, size_t layer, size_t position) {
  const bool sliding = layer % 2 == 0;
  return sliding && position + 1 > shape.window ? position + 1 - shape.window : 0;
}

}  // namespace

ModelSpec FoldingSpec(const FoldingShape& shape) {
  ModelSpec spec;
  spec.kv_heads = 1;
  spec.head_dim = 2;
  spec.sliding_window = shape.window;
  spec.layer_count = shape.layers;
  for (size_t i = 0; i < shape.layers; ++i) {
    spec.layer_kinds.push_back(i % 2 == 0 ? LayerKind::kSliding : LayerKind::kFull);
  }
  return spec;
}

void FoldingExpert(LayerIndex layer, ExpertId expert, std::span<const float> row, float weight,
                   std::span<float> out) {
  uint64_t hash = Fold(ToIndex(layer), ToIndex(expert));
  for (const float value : row) hash = Fold(hash, static_cast<uint64_t>(value));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = weight * static_cast<float>((hash >> (16 * i)) & 0xff);
  }
}

TokenId FoldingReference::Next(TokenId token) {
  const size_t position = layers_[0].size();
  uint64_t hidden = EmbedToken(token, position);
  float row[kFoldingWidth];
  float y[kFoldingWidth];
  for (size_t layer = 0; layer < shape_.layers; ++layer) {
    layers_[layer].push_back(hidden);
    uint64_t attended = 0;
    for (size_t j = WindowBegin(shape_, layer, position); j <= position; ++j) {
      attended = Fold(attended, layers_[layer][j]);
    }
    WriteRow(attended, row);
    float sum[kFoldingWidth] = {};
    for (const Choice& choice : Gate(shape_, layer, attended)) {
      FoldingExpert(LayerIndex{static_cast<uint32_t>(layer)}, ExpertId{choice.expert}, row,
                    choice.weight, y);
      for (size_t i = 0; i < kFoldingWidth; ++i) sum[i] += y[i];
    }
    hidden = FoldSum(attended, sum);
  }
  return static_cast<TokenId>(hidden % kFoldingVocab);
}

FoldingModel::FoldingModel(const FoldingShape& shape, const KvCache& kv, ExpertCalls& experts)
    : shape_(shape), spec_(FoldingSpec(shape)), experts_(experts) {
  for (const LayerKind kind : spec_.layer_kinds) {
    const BlockCounts counts = kv.block_counts();
    const size_t blocks = kind == LayerKind::kFull ? counts.full : counts.sliding;
    content_.emplace_back(blocks * kBlockTokens);
  }
}

absl::StatusOr<std::vector<SampledToken>> FoldingModel::Run(const StepBatch& batch) {
  std::vector<uint64_t> hidden(batch.row_count());
  for (size_t row = 0; row < hidden.size(); ++row) {
    hidden[row] = EmbedToken(batch.token_ids()[row], batch.positions()[row]);
  }
  for (uint32_t layer = 0; layer < shape_.layers; ++layer) {
    Attend(layer, batch, hidden);
    TESSERA_RETURN_IF_ERROR(AddExperts(LayerIndex{layer}, hidden));
  }
  std::vector<SampledToken> sampled;
  for (const StepBatch::Sample& sample : batch.samples()) {
    const uint64_t value = hidden[batch.logits_rows()[sample.logits_index]];
    sampled.push_back({absl::OkStatus(), static_cast<TokenId>(value % kFoldingVocab)});
  }
  return sampled;
}

void FoldingModel::Attend(size_t layer, const StepBatch& batch, std::vector<uint64_t>& hidden) {
  const auto rows = batch.attention_rows(spec_.layer_kinds[layer]);
  std::vector<uint64_t>& content = content_[layer];
  const auto place = [](const kernels::AttentionRow& row, size_t position) {
    return size_t{row.blocks[position / kBlockTokens]} * kBlockTokens + position % kBlockTokens;
  };
  for (size_t i = 0; i < rows.size(); ++i) content.at(place(rows[i], rows[i].position)) = hidden[i];
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t position = rows[i].position;
    uint64_t attended = 0;
    for (size_t j = WindowBegin(shape_, layer, position); j <= position; ++j) {
      attended = Fold(attended, content.at(place(rows[i], j)));
    }
    hidden[i] = attended;
  }
}

absl::Status FoldingModel::AddExperts(LayerIndex layer, std::vector<uint64_t>& hidden) {
  rows_ = Matrix(hidden.size(), kFoldingWidth);
  sum_ = Matrix(hidden.size(), kFoldingWidth);
  chosen_.clear();
  weights_.clear();
  for (size_t row = 0; row < hidden.size(); ++row) {
    WriteRow(hidden[row], rows_.row(row));
    for (const Choice& choice : Gate(shape_, ToIndex(layer), hidden[row])) {
      chosen_.push_back(choice.expert);
      weights_.push_back(choice.weight);
    }
  }
  const Routed routed{rows_.view(), {hidden.size(), shape_.top_k, chosen_, weights_}};
  TESSERA_ASSIGN_OR_RETURN(const InFlight calls, experts_.Send(layer, routed));
  TESSERA_RETURN_IF_ERROR(experts_.Receive(calls, sum_.view()));
  for (size_t row = 0; row < hidden.size(); ++row)
    hidden[row] = FoldSum(hidden[row], sum_.row(row));
  return absl::OkStatus();
}

}  // namespace tessera::router
