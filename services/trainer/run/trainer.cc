#include "services/trainer/run/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::trainer {

Trainer::Trainer(const TrainConfig& config, ParameterLayout layout, const DocumentSource& source,
                 ThreadPool& pool)
    : config_(config),
      layout_(std::move(layout)),
      pool_(pool),
      packer_(config.packer, source, config.model.vocab),
      optimizer_(layout_, config.optimizer, pool),
      balance_(config.balance.method, config.balance.momentum, config.model.moe_layer_count(),
               config.model.expert_count),
      values_(layout_.size),
      packed_(layout_.packed_size),
      window_(config.model.moe_layer_count() * config.model.expert_count + 1) {}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const TrainConfig& config,
                                                         const DocumentSource& source,
                                                         ThreadPool& pool) {
  if (!CpuCanTrain()) {
    return absl::FailedPreconditionError("training needs a CPU with AVX2 and FMA");
  }
  TESSERA_ASSIGN_OR_RETURN(ParameterLayout layout, ParameterLayout::Of(config.model));
  std::unique_ptr<Trainer> trainer(new Trainer(config, std::move(layout), source, pool));
  TESSERA_RETURN_IF_ERROR(trainer->AllocatePasses());
  InitializeWeights(trainer->layout_, config.seed, trainer->values_);
  PackWeights(trainer->layout_, trainer->values_, pool, trainer->packed_);
  return trainer;
}

absl::Status Trainer::AllocatePasses() {
  for (size_t i = 0; i < config_.batch_rows; ++i) {
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<RowPass<float>> pass,
                             RowPass<float>::Create(layout_, config_.packer.row_tokens));
    passes_.push_back(std::move(pass));
    TESSERA_ASSIGN_OR_RETURN(Slab<float> gradients, Slab<float>::Allocate(layout_.size));
    gradients_.push_back(std::move(gradients));
  }
  return absl::OkStatus();
}

void PackWeights(const ParameterLayout& layout, std::span<const float> values, ThreadPool& pool,
                 std::span<float> packed) {
  constexpr size_t kExpertsAtOnce = 32;
  struct Piece {
    const Linear* linear;
    size_t begin;
  };
  std::vector<Piece> pieces;
  for (const Linear& linear : layout.linears) {
    for (size_t i = 0; i < linear.count; i += kExpertsAtOnce) pieces.push_back({&linear, i});
  }
  pool.ParallelFor(pieces.size(), 4, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end; ++i) {
      const auto [linear, first] = pieces[i];
      PackLinear(*linear, first, std::min(first + kExpertsAtOnce, linear->count), values.data(),
                 packed.data());
    }
  });
}

void Trainer::BeginPhase(size_t index) {
  packer_.GoOnAt(FirstDocument(index));
  std::ranges::fill(window_, 0);
  if (!config_.phases[index].settles) return;
  RoundAsWritten(layout_, config_.experts, values_);
  PackWeights(layout_, values_, pool_, packed_);
}

absl::StatusOr<std::vector<PackedRow>> Trainer::NextRows() {
  TESSERA_RETURN_IF_ERROR(packer_.Refill(pool_));
  std::vector<PackedRow> rows;
  for (size_t i = 0; i < config_.batch_rows; ++i) {
    rows.push_back(packer_.Next());
    if (rows.back().ids.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("a batch of ", config_.batch_rows, " rows needs more documents than the ",
                       config_.packer.buffer_documents, " of batch.buffer_documents"));
    }
  }
  return rows;
}

LossOptions Trainer::OptionsOf(std::span<const PackedRow> rows, const Phase& phase) const {
  size_t loss_tokens = 0;
  for (const PackedRow& row : rows) {
    loss_tokens +=
        row.ids.size() - static_cast<size_t>(std::ranges::count(row.targets, PackedRow::kNoLoss));
  }
  const double aux =
      config_.balance.method == BalanceMethod::kAux ? config_.balance.aux_weight : 0.0;
  return {.token_weight = 1.0 / static_cast<double>(std::max<size_t>(1, loss_tokens)),
          .z_weight = config_.z_weight,
          .balance_weight = (phase.balance_weight + aux) / static_cast<double>(rows.size())};
}

Trainer::Counts Trainer::RunRows(std::span<const PackedRow> rows, const Phase& phase,
                                 StepReport& report) {
  const LossOptions options = OptionsOf(rows, phase);
  const WeightView<float> weights = {values_.data(), packed_.data(), balance_.bias().data()};
  std::vector<RowLoss> losses(rows.size());
  pool_.ParallelFor(rows.size(), 1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end; ++i) {
      losses[i] = phase.settles ? passes_[i]->Evaluate(rows[i], weights, options)
                                : passes_[i]->Run(rows[i], weights, options, gradients_[i].data());
    }
  });
  Counts counts = losses[0].counts;
  for (size_t i = 0; i < rows.size(); ++i) {
    report.tokens += rows[i].ids.size();
    report.loss_tokens += losses[i].tokens;
    report.loss += losses[i].cross_entropy;
    report.accuracy += static_cast<double>(losses[i].hits);
    for (size_t layer = 0; i > 0 && layer < counts.size(); ++layer) {
      std::ranges::transform(counts[layer], losses[i].counts[layer], counts[layer].begin(),
                             std::plus<>());
    }
  }
  const auto loss_tokens = static_cast<double>(std::max<size_t>(1, report.loss_tokens));
  report.loss /= loss_tokens;
  report.accuracy /= loss_tokens;
  return counts;
}

absl::StatusOr<StepReport> Trainer::Step() {
  const PhaseStep place = config_.PhaseOf(step_ + 1);
  const Phase& phase = config_.phases[place.phase];
  if (place.phase > 0 && place.step == 1) BeginPhase(place.phase);
  TESSERA_ASSIGN_OR_RETURN(const std::vector<PackedRow> rows, NextRows());
  StepReport report = {.step = step_ + 1};
  const Counts counts = RunRows(rows, phase, report);
  if (!phase.settles) {
    report.rate_scale = phase.rate * phase.schedule.RateScale(place.step);
    std::vector<float*> gradients;
    for (const Slab<float>& slab : gradients_) gradients.push_back(slab.data());
    report.gradient_norm = optimizer_.Step(step_ + 1, report.rate_scale, gradients, values_);
  }
  if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) {
    return absl::DataLossError(absl::StrCat("step ", step_ + 1, ": loss ", report.loss,
                                            ", gradient norm ", report.gradient_norm,
                                            "; a lower rate may help"));
  }
  const double balance_rate =
      phase.balance_rate_end +
      (phase.balance_rate - phase.balance_rate_end) * phase.schedule.DecayScale(place.step);
  const Counts window = AddLoad(counts, report.tokens, report);
  if (!phase.settles) {
    balance_.Update(balance_rate, counts);
    PackWeights(layout_, values_, pool_, packed_);
  } else if (!window.empty()) {
    balance_.Update(balance_rate, window);
  }
  ++step_;
  return report;
}

Trainer::Counts Trainer::AddLoad(const Counts& counts, size_t tokens, StepReport& report) {
  for (size_t layer = 0; layer < counts.size(); ++layer) {
    report.load.push_back(FiguresOf(counts[layer]));
    for (size_t e = 0; e < counts[layer].size(); ++e) {
      window_[layer * counts[layer].size() + e] += counts[layer][e];
    }
  }
  window_.back() += tokens;
  if (window_.back() < kLoadTokens) return {};
  Counts sums;
  for (size_t layer = 0; layer < counts.size(); ++layer) {
    const size_t experts = counts[layer].size();
    const auto begin = window_.begin() + static_cast<ptrdiff_t>(layer * experts);
    sums.emplace_back(begin, begin + static_cast<ptrdiff_t>(experts));
    report.window_load.push_back(FiguresOf(sums.back()));
  }
  std::ranges::fill(window_, 0);
  return sums;
}

RunArrays Trainer::Arrays() {
  return {values_, optimizer_.mutable_first(), optimizer_.mutable_second(), balance_.mutable_bias(),
          balance_.mutable_momentum()};
}

absl::Status Trainer::Save(const std::string& path) {
  return WriteRunState(path, config_.Identity(step_), Arrays(), {step_, packer_.state(), window_});
}

absl::Status Trainer::Restore(const std::string& path) {
  RunProgress progress;
  progress.load.resize(window_.size());
  TESSERA_RETURN_IF_ERROR(ReadRunState(
      path, [&](uint64_t step) { return config_.Identity(step); }, Arrays(), progress));
  TESSERA_RETURN_IF_ERROR(packer_.Restore(progress.packer, pool_));
  step_ = progress.step;
  window_ = progress.load;
  PackWeights(layout_, values_, pool_, packed_);
  return absl::OkStatus();
}

absl::Status Trainer::StartFrom(const std::string& model_dir) {
  TESSERA_RETURN_IF_ERROR(ReadModel(model_dir, layout_, values_, balance_.mutable_bias()));
  PackWeights(layout_, values_, pool_, packed_);
  return absl::OkStatus();
}

}  // namespace tessera::trainer
