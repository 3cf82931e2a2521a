#include "services/trainer/run/expert_load.h"

#include <algorithm>
#include <memory>
#include <span>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "services/trainer/backward/row_pass.h"
#include "services/trainer/optimizer/expert_balance.h"
#include "services/trainer/run/row_packer.h"
#include "services/trainer/run/trainer.h"

namespace tessera::trainer {
namespace {

constexpr size_t kRowsAtOnce = 8;  // whatever the threads: the packer's picks depend on it

using Counts = std::vector<std::vector<uint32_t>>;  // [layers][experts]

void Add(const Counts& from, Counts& to) {
  for (size_t layer = 0; layer < from.size(); ++layer) {
    std::ranges::transform(from[layer], to[layer], to[layer].begin(), std::plus<>());
  }
}

// Sums of windows while they last, then means.
class LoadSums {
 public:
  explicit LoadSums(const ModelSpec& spec)
      : window_(spec.moe_layer_count(), std::vector<uint32_t>(spec.expert_count)), all_(window_) {
    load_.layers.resize(spec.moe_layer_count());
  }
  size_t tokens() const { return load_.tokens; }
  size_t windows() const { return load_.windows; }

  void AddRow(size_t tokens, const RowLoss& loss) {
    Add(loss.counts, window_);
    Add(loss.counts, all_);
    load_.tokens += tokens;
    load_.loss += loss.cross_entropy;
    load_.accuracy += static_cast<double>(loss.hits);
    loss_tokens_ += loss.tokens;
    window_tokens_ += tokens;
    if (window_tokens_ >= Trainer::kLoadTokens) EndWindow();
  }
  ExpertLoad Result() && {
    const auto windows = static_cast<double>(load_.windows);
    for (size_t i = 0; i < load_.layers.size(); ++i) {
      LayerLoad& layer = load_.layers[i];
      for (double* sum : {&layer.mean_over_max, &layer.max_violation, &layer.jain, &layer.unused}) {
        *sum /= windows;
      }
      layer.never_used = FiguresOf(all_[i]).unused;
    }
    load_.loss /= static_cast<double>(std::max<size_t>(1, loss_tokens_));
    load_.accuracy /= static_cast<double>(std::max<size_t>(1, loss_tokens_));
    return std::move(load_);
  }

 private:
  void EndWindow() {
    for (size_t i = 0; i < window_.size(); ++i) {
      const LoadFigures figures = FiguresOf(window_[i]);
      LayerLoad& layer = load_.layers[i];
      layer.mean_over_max += figures.mean_over_max;
      layer.mean_over_max_least = std::min(layer.mean_over_max_least, figures.mean_over_max);
      layer.max_violation += figures.max_violation;
      layer.jain += figures.jain;
      layer.unused += static_cast<double>(figures.unused);
      std::ranges::fill(window_[i], 0);
    }
    ++load_.windows;
    window_tokens_ = 0;
  }

  ExpertLoad load_;
  Counts window_;
  Counts all_;
  size_t window_tokens_ = 0;
  size_t loss_tokens_ = 0;
};

// As ExpertLoad::chance, of `windows` windows.
double ChanceLoad(const ModelSpec& spec, size_t windows, uint64_t seed) {
  Random random(seed);
  double sum = 0;
  for (size_t window = 0; window < windows; ++window) {
    std::vector<uint32_t> counts(spec.expert_count);
    std::vector<size_t> chosen;
    for (size_t token = 0; token < Trainer::kLoadTokens; ++token) {
      chosen.clear();
      while (chosen.size() < spec.top_k) {
        const size_t expert = random.Below(spec.expert_count);
        if (std::ranges::find(chosen, expert) == chosen.end()) chosen.push_back(expert);
      }
      for (const size_t expert : chosen) ++counts[expert];
    }
    sum += FiguresOf(counts).mean_over_max;
  }
  return sum / static_cast<double>(windows);
}

absl::StatusOr<std::vector<std::unique_ptr<RowPass<float>>>> CreatePasses(
    const ParameterLayout& layout, size_t row_tokens, size_t count) {
  std::vector<std::unique_ptr<RowPass<float>>> passes(count);
  for (std::unique_ptr<RowPass<float>>& pass : passes) {
    TESSERA_ASSIGN_OR_RETURN(pass, RowPass<float>::Create(layout, row_tokens));
  }
  return passes;
}

absl::Status Check(const ModelSpec& spec, const LoadOptions& options) {
  if (!CpuCanTrain()) {
    return absl::FailedPreconditionError("a forward pass needs a CPU with AVX2 and FMA");
  }
  if (spec.moe_layer_count() == 0) {
    return absl::InvalidArgumentError("the model has no experts: there is no load to measure");
  }
  if (options.tokens >= Trainer::kLoadTokens) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "found ", options.tokens, " tokens; expected at least a window of ", Trainer::kLoadTokens));
}

}  // namespace

double ExpertLoad::mean_over_max() const {
  double sum = 0;
  for (const LayerLoad& layer : layers) sum += layer.mean_over_max;
  return sum / static_cast<double>(layers.size());
}

absl::StatusOr<ExpertLoad> MeasureExpertLoad(const ParameterLayout& layout,
                                             const ModelWeights& weights,
                                             const DocumentSource& source,
                                             const LoadOptions& options, ThreadPool& pool) {
  TESSERA_RETURN_IF_ERROR(Check(layout.spec, options));
  std::vector<float> packed(layout.packed_size);
  PackWeights(layout, weights.values, pool, packed);
  const WeightView<float> view = {weights.values.data(), packed.data(), weights.expert_bias.data()};
  TESSERA_ASSIGN_OR_RETURN(
      const auto passes,
      CreatePasses(layout, options.row_tokens, std::min(pool.thread_count(), kRowsAtOnce)));
  RowPacker packer({.row_tokens = options.row_tokens, .seed = options.seed}, source,
                   layout.spec.vocab);
  LoadSums sums(layout.spec);
  while (sums.tokens() < options.tokens) {
    std::vector<PackedRow> rows;
    for (size_t i = 0; i < kRowsAtOnce; ++i) {
      TESSERA_RETURN_IF_ERROR(packer.Refill(pool));
      rows.push_back(packer.Next());
    }
    std::vector<RowLoss> losses(rows.size());
    pool.ParallelFor(rows.size(), 1, [&](size_t begin, size_t end, size_t worker) {
      for (size_t i = begin; i < end; ++i) {
        losses[i] = passes[worker]->Evaluate(rows[i], view, {});
      }
    });
    for (size_t i = 0; i < rows.size(); ++i) sums.AddRow(rows[i].ids.size(), losses[i]);
  }
  const double chance = ChanceLoad(layout.spec, sums.windows(), options.seed);
  ExpertLoad load = std::move(sums).Result();
  load.chance = chance;
  return load;
}

}  // namespace tessera::trainer
