#pragma once

// A cluster in this process that serves a golden checkpoint, and requests whose tokens the
// reference knows.

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <vector>

#include "common/wire/generation_wire.h"
#include "tests/support/golden.h"
#include "tests/support/test_cluster.h"

namespace tessera::testing {

// On afmoe-tiny-f32.
class GoldenClusterTest : public ::testing::Test {
 protected:
  using Readers = std::vector<std::shared_ptr<EventReader>>;

  void SetUp() override;
  void Start(const TestClusterOptions& options);

  // Request number `i`: a prompt of the checkpoint, each in its turn.
  wire::GenerationParams Request(size_t i) const;
  std::vector<TokenId> Expected(size_t i) const;
  // Each prompt twice.
  Readers SubmitAll();
  // Waits for the end; the tokens are the reference's, and the experts were complete.
  void ExpectWhole(EventReader& reader, size_t i) const;
  void ExpectWhole(const Readers& readers) const;

  double Total(const std::string& metric) const { return cluster_->router().Total(metric); }

  Golden golden_;
  std::unique_ptr<TestCluster> cluster_;
  size_t tokens_max_ = std::numeric_limits<size_t>::max();  // of a request
};

}  // namespace tessera::testing
