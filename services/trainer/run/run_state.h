#pragma once

// What a run keeps on disk to go on from, in one safetensors file that is written whole or not at
// all. A run that goes on from it takes the same steps, to the bit, as one that was never stopped.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "services/trainer/run/row_packer.h"

namespace tessera::trainer {

// The large arrays, borrowed from their owners.
struct RunArrays {
  std::span<float> weights;
  std::span<float> first_moment;
  std::span<float> second_moment;
  std::span<float> expert_bias;
  std::span<float> balance_momentum;
};

struct RunProgress {
  uint64_t step = 0;  // taken
  PackerState packer;
  std::vector<uint64_t> load;  // rows per expert of the load window under way, and its steps
};

// Which run it is, up to some step.
struct RunIdentity {
  std::string config;  // everything that changes what a step does
  std::string data;    // what it learns from: tokenizer and corpora; empty: unknown
};

// kUnavailable: it cannot be written.
absl::Status WriteRunState(const std::string& path, const RunIdentity& identity,
                           const RunArrays& arrays, const RunProgress& progress);
// Fills arrays and progress. identity_of: of the run that wants to go on, up to the step the file
// was written behind. kNotFound: no such file; kFailedPrecondition: another config wrote it,
// or one with other data, with both (data that either side does not know is not compared);
// kDataLoss: it is damaged. Arrays are in no particular state after an error.
absl::Status ReadRunState(const std::string& path,
                          absl::FunctionRef<RunIdentity(uint64_t step)> identity_of,
                          const RunArrays& arrays, RunProgress& progress);

}  // namespace tessera::trainer
