#pragma once

// A small checkpoint on disk with its experts in memory, and rows routed at random.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "common/device/cpu_features.h"
#include "common/kernels/compute.h"
#include "common/model/model_config.h"
#include "common/moe/routing.h"
#include "common/tensor/matrix.h"
#include "services/expert_shard/experts/expert_store.h"
#include "tests/support/tiny_model.h"

namespace tessera::expert_shard {

inline kernels::Isa BestIsa() {
  const auto isa = kernels::ChooseIsa("auto", DetectCpuFeatures());
  return isa.ok() ? *isa : kernels::Isa::kReference;
}

// The compute threads of a shard.
struct Machine {
  explicit Machine(size_t threads = 2, kernels::Isa isa = BestIsa(),
                   kernels::Arithmetic arithmetic = kernels::Arithmetic::kFloat32)
      : pool({.thread_count = threads, .spin_rounds = 0}),
        compute{.pool = pool,
                .features = DetectCpuFeatures(),
                .isa = isa,
                .arithmetic = arithmetic,
                .scratch = &scratch} {}
  ThreadPool pool;
  kernels::Scratch scratch;
  kernels::Compute compute;
};

class LoadedModel {
 public:
  explicit LoadedModel(const ModelSpec& shape = testing::TinySpec(),
                       const testing::TinyModelOptions& options = {}) {
    WriteTinyModel(shape, options, folder_.path());
    spec_ = *ReadModelSpec(folder_.path());
    checkpoint_ = *Checkpoint::Open(folder_.path());
    manifest_ = std::make_unique<ModelManifest>(*ModelManifest::Resolve(spec_, *checkpoint_));
  }

  // A store that holds `units`.
  std::unique_ptr<ExpertStore> Load(std::span<const ExpertUnit> units,
                                    const ExpertStoreConfig& config = {}) const {
    LoadPlan plan;
    auto store = ExpertStore::Plan(spec_, *checkpoint_, *manifest_, units, config, plan);
    EXPECT_TRUE(store.ok()) << store.status();
    ThreadPool pool({.thread_count = 1});
    const absl::Status ran = plan.Run(pool, {});
    EXPECT_TRUE(ran.ok()) << ran;
    return *std::move(store);
  }
  std::unique_ptr<ExpertStore> LoadAll(const ExpertStoreConfig& config = {}) const {
    return Load(AllUnits(spec_), config);
  }

  const ModelSpec& spec() const { return spec_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelManifest& manifest() const { return *manifest_; }
  const std::string& path() const { return folder_.path(); }

 private:
  testing::TempFolder folder_;
  ModelSpec spec_;
  std::unique_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<ModelManifest> manifest_;
};

// Random rows with random experts; the same seed gives the same.
class RandomRouting {
 public:
  RandomRouting(const ModelSpec& spec, size_t rows, uint64_t seed)
      : rows_(rows, spec.d_model), top_k_(spec.top_k) {
    Random random(seed);
    for (float& v : rows_.values()) v = static_cast<float>(random.Uniform() * 2 - 1);
    for (size_t row = 0; row < rows; ++row) {
      std::vector<uint32_t> chosen;
      while (chosen.size() < top_k_) {
        const auto expert = static_cast<uint32_t>(random.Below(spec.expert_count));
        if (std::ranges::find(chosen, expert) == chosen.end()) chosen.push_back(expert);
      }
      std::ranges::sort(chosen);
      experts_.insert(experts_.end(), chosen.begin(), chosen.end());
      for (size_t k = 0; k < top_k_; ++k) {
        weights_.push_back(static_cast<float>(0.1 + random.Uniform()));
      }
    }
  }

  RoutingView routing() const { return {rows_.rows(), top_k_, experts_, weights_}; }
  Routed routed() const { return {rows_.view(), routing()}; }
  ConstMatrixView rows() const { return rows_.view(); }

 private:
  Matrix rows_;
  size_t top_k_;
  std::vector<uint32_t> experts_;
  std::vector<float> weights_;
};

}  // namespace tessera::expert_shard
