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
      window_(config.model.moe_layer_count() * config.model.expert_count + 1) {}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const TrainConfig& config,
                                                         const DocumentSource& source,
                                                         ThreadPool& pool) {
  if (!CpuCanTrain()) {
    return absl::FailedPreconditionError("training needs a CPU with AVX2 and FMA");
  }
  TESSERA_ASSIGN_OR_RETURN(ParameterLayout layout, ParameterLayout::Of(config.model));
  std::unique_ptr<Trainer> trainer(new Trainer(config, std::move(layout), source, pool));
  TESSERA_RETURN_IF_ERROR(trainer->Allocate());
  InitializeWeights(trainer->layout_, config.seed, trainer->values_.span());
  PackWeights(trainer->layout_, trainer->values_.span(), pool, trainer->packed_.span());
  return trainer;
}

absl::Status Trainer::Allocate() {
  TESSERA_ASSIGN_OR_RETURN(values_, Slab<float>::Allocate(layout_.size));
  TESSERA_ASSIGN_OR_RETURN(packed_, Slab<float>::Allocate(layout_.packed_size));
  TESSERA_ASSIGN_OR_RETURN(gradients_, Slab<float>::Allocate(layout_.size));
  TESSERA_ASSIGN_OR_RETURN(
      pass_,
      RowPass<float>::Create(layout_, config_.batch_rows * config_.packer.row_tokens, &pool_));
  return absl::OkStatus();
}

void PackWeights(const ParameterLayout& layout, std::span<const float> values, ThreadPool& pool,
                 std::span<float> packed) {
  pool.ParallelFor(layout.linears.size(), 4, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end; ++i) {
      PackLinear(layout.linears[i], values.data(), packed.data());
    }
  });
}

void Trainer::BeginPhase(size_t index) {
  packer_.GoOnAt(FirstDocument(index));
  std::ranges::fill(window_, 0);
  if (!config_.phases[index].settles) return;
  RoundAsWritten(layout_, config_.experts, values_.span());
  PackWeights(layout_, values_.span(), pool_, packed_.span());
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

LossOptions Trainer::OptionsOf(const PackedRow& batch, const Phase& phase) const {
  const auto loss_tokens =
      batch.ids.size() - static_cast<size_t>(std::ranges::count(batch.targets, PackedRow::kNoLoss));
  const double aux =
      config_.balance.method == BalanceMethod::kAux ? config_.balance.aux_weight : 0.0;
  return {.token_weight = 1.0 / static_cast<double>(std::max<size_t>(1, loss_tokens)),
          .z_weight = config_.z_weight,
          .balance_weight = (phase.balance_weight + aux) / static_cast<double>(config_.batch_rows)};
}

Trainer::Counts Trainer::RunBatch(const PackedRow& batch, const Phase& phase, StepReport& report) {
  const LossOptions options = OptionsOf(batch, phase);
  const WeightView<float> weights = {values_.data(), packed_.data(), balance_.bias().data()};
  const RowLoss loss = phase.settles ? pass_->Evaluate(batch, weights, options)
                                     : pass_->Run(batch, weights, options, gradients_.data());
  const auto loss_tokens = static_cast<double>(std::max<size_t>(1, loss.tokens));
  report.tokens = batch.ids.size();
  report.loss_tokens = loss.tokens;
  report.loss = loss.cross_entropy / loss_tokens;
  report.accuracy = static_cast<double>(loss.hits) / loss_tokens;
  return loss.counts;
}

absl::StatusOr<StepReport> Trainer::Step() {
  const PhaseStep place = config_.PhaseOf(step_ + 1);
  const Phase& phase = config_.phases[place.phase];
  if (place.phase > 0 && place.step == 1) BeginPhase(place.phase);
  TESSERA_ASSIGN_OR_RETURN(const std::vector<PackedRow> rows, NextRows());
  StepReport report = {.step = step_ + 1};
  const Counts counts = RunBatch(JoinRows(rows), phase, report);
  if (!phase.settles) {
    report.rate_scale = phase.rate * phase.schedule.RateScale(place.step);
    report.gradient_norm =
        optimizer_.Step(step_ + 1, report.rate_scale, gradients_.span(), values_.span());
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
    PackWeights(layout_, values_.span(), pool_, packed_.span());
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
  return {values_.span(), optimizer_.mutable_first(), optimizer_.mutable_second(),
          balance_.mutable_bias(), balance_.mutable_momentum()};
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
  PackWeights(layout_, values_.span(), pool_, packed_.span());
  return absl::OkStatus();
}

absl::Status Trainer::StartFrom(const std::string& model_dir) {
  TESSERA_RETURN_IF_ERROR(ReadModel(model_dir, layout_, values_.span(), balance_.mutable_bias()));
  PackWeights(layout_, values_.span(), pool_, packed_.span());
  return absl::OkStatus();
}

}  // namespace tessera::trainer
