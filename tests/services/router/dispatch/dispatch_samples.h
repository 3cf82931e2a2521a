#pragma once

// Random layers of work, what their sums should be, and a dispatcher over a simulated cluster.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/metrics/metrics.h"
#include "common/tensor/matrix.h"
#include "services/router/dispatch/dispatcher.h"
#include "tests/support/simulated_cluster.h"

namespace tessera::router {

using testing::SimulatedCluster;
using testing::SimulatedClusterConfig;

// Rows and their routing, owned.
struct Work {
  Matrix rows;
  std::vector<uint32_t> experts;
  std::vector<float> weights;
  size_t top_k = 0;

  Routed routed() const { return {rows.view(), {rows.rows(), top_k, experts, weights}}; }
};

inline Work RandomWork(size_t rows, uint64_t seed, size_t expert_count = 8, size_t top_k = 3,
                       size_t d_model = 8) {
  Random random(seed);
  Work work{Matrix(rows, d_model), {}, {}, top_k};
  for (float& value : work.rows.values()) value = static_cast<float>(random.Uniform() * 4 - 2);
  for (size_t r = 0; r < rows; ++r) {
    std::vector<uint32_t> all(expert_count);
    for (uint32_t e = 0; e < expert_count; ++e) all[e] = e;
    for (size_t k = 0; k < top_k; ++k) std::swap(all[k], all[k + random.Below(expert_count - k)]);
    std::sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(top_k));
    work.experts.insert(work.experts.end(), all.begin(),
                        all.begin() + static_cast<ptrdiff_t>(top_k));
    for (size_t k = 0; k < top_k; ++k) {
      work.weights.push_back(static_cast<float>(random.Uniform() + 0.1));
    }
  }
  return work;
}

// In one process, in ascending expert id.
inline Matrix Expected(LayerIndex layer, const Work& work,
                       const testing::ExpertFunction& expert = testing::WavyExpert) {
  Matrix sum(work.rows.rows(), work.rows.cols());
  std::vector<float> y(work.rows.cols());
  for (size_t r = 0; r < work.rows.rows(); ++r) {
    for (size_t k = 0; k < work.top_k; ++k) {
      const size_t choice = r * work.top_k + k;
      expert(layer, ExpertId{work.experts[choice]}, work.rows.row(r), work.weights[choice], y);
      for (size_t i = 0; i < y.size(); ++i) {
        sum.row(r)[i] = k == 0 ? y[i] : sum.row(r)[i] + y[i];
      }
    }
  }
  return sum;
}

struct DispatchBench {
  explicit DispatchBench(const SimulatedClusterConfig& cluster_config,
                         const DispatchConfig& config = {}, IdlePoll* idle_poll = nullptr)
      : cluster(cluster_config), strict(cluster_config.geometry.strict) {
    DispatchConfig adapted = config;
    adapted.strict = strict;
    dispatcher = std::make_unique<Dispatcher>(
        adapted, DispatchRooms{cluster.exchange(), cluster, cluster.clock(), registry,
                               [this](absl::Duration timeout, std::vector<ExchangeEvent>& events) {
                                 cluster.Wait(timeout, events);
                                 if (tamper) tamper(events);
                               },
                               /*pool=*/nullptr, /*meter=*/nullptr, idle_poll});
  }

  absl::Status Run(const Work& work, Matrix& sum, LayerIndex layer = LayerIndex{0}) {
    const auto flight = dispatcher->Send(layer, work.routed());
    if (!flight.ok()) return flight.status();
    sum = Matrix(work.rows.rows(), work.rows.cols());
    return dispatcher->Receive(*flight, sum.view());
  }

  // Runs a layer of random work and compares: bits in strict mode.
  void ExpectRight(uint64_t seed, size_t rows = 5, LayerIndex layer = LayerIndex{0}) {
    const Work work = RandomWork(rows, seed);
    Matrix sum;
    const absl::Status status = Run(work, sum, layer);
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status;
    ExpectSum(work, sum, layer);
  }
  void ExpectSum(const Work& work, const Matrix& sum, LayerIndex layer = LayerIndex{0}) {
    const Matrix expected = Expected(layer, work);
    for (size_t i = 0; i < sum.values().size(); ++i) {
      if (strict) {
        ASSERT_EQ(sum.values()[i], expected.values()[i]) << "at " << i;
      } else {
        ASSERT_NEAR(sum.values()[i], expected.values()[i], 1e-5) << "at " << i;
      }
    }
  }
  // Credits come back once late answers have come or their time is over.
  void ExpectNoSlotLeaks() {
    cluster.network().ClearFaults();
    cluster.Pass(absl::Seconds(1));
    std::vector<ExchangeEvent> events;
    for (int i = 0; i < 3; ++i) cluster.Wait(absl::Milliseconds(1), events);
    events.clear();
    for (const auto& link : cluster.View()->links) {
      if (!link) continue;
      EXPECT_EQ(cluster.exchange().LoadOf(link->peer).calls, 0u);
    }
  }
  // The value of a counter summed over its series, from what Prometheus would read.
  double Total(const std::string& name, const std::string& label = "") const {
    dispatcher->EndStep();
    const std::string text = registry.Text();
    double total = 0;
    for (size_t at = 0; (at = text.find("\n" + name, at)) != std::string::npos; ++at) {
      const size_t end = text.find('\n', at + 1);
      const std::string line = text.substr(at + 1, end - at - 1);
      const char next = line[name.size()];
      if ((next != '{' && next != ' ') || line.find(label) == std::string::npos) continue;
      total += std::stod(line.substr(line.rfind(' ')));
    }
    return total;
  }
  double ShardTotal(const std::string& what, const std::string& label = "") const {
    return Total(absl::StrCat("tessera_router_shard_", what, "_total"), label);
  }

  Registry registry;
  SimulatedCluster cluster;
  const bool strict;
  // Sees events before the dispatcher does.
  std::function<void(std::vector<ExchangeEvent>&)> tamper;
  std::unique_ptr<Dispatcher> dispatcher;
};

}  // namespace tessera::router
