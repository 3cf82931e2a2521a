#pragma once

// The description of a run: one JSON file, from which and from whose seed the run can be repeated.
//
//   {
//     "seed": 1,
//     "steps": 9000,
//     "model": { keys of a config.json },
//     "data": {"tokenizer": "tokenizer.json"},     beside this file
//     "batch": {"rows": 2, "row_tokens": 1024, "buffer_documents": 256},
//     "rates": {"muon": 0.02, "adam": 0.003, "warmup": 0.01, "decay": 0.4, "shape": "linear"},
//     "loss": {"z": 1e-4, "balance": 0, "clip_norm": 1.0},
//     "balance": {"method": "smebu", "rate": 0.02, "rate_end": 0.005, "momentum": 0.5},
//     "output": {"experts": "bf16", "checkpoint_every": 250},
//     "corpus": {"shares": {"faq": 0.15, "arithmetic": 0.17, ...}, "subtract": 0.5,
//                "compares": false, "more_frames": false},
//     "phases": []                                 what follows the steps above, if anything:
//   }
//
//   {"steps": 3000, "rate": 0.5, "warmup": 0, "decay": 1, "shape": "linear", "settles": false,
//    "balance": {"rate": 0.005, "rate_end": 0.005, "loss": 0}, "corpus": {...}}
//
// Every key but steps and model has the default shown, but what a later phase does not say of
// balance and corpus is as the phase before it ended; an unknown key is an error.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/json/json.h"
#include "common/model/model_spec.h"
#include "services/trainer/corpus/course.h"
#include "services/trainer/optimizer/expert_balance.h"
#include "services/trainer/optimizer/optimizer.h"
#include "services/trainer/run/model_files.h"
#include "services/trainer/run/row_packer.h"
#include "services/trainer/run/run_state.h"
#include "services/trainer/run/schedule.h"

namespace tessera::trainer {

struct BalanceOptions {
  BalanceMethod method = BalanceMethod::kSmebu;
  double momentum = 0.5;
  double aux_weight = 0.01;  // of the balance loss with method aux
};

// A stretch of the run with a schedule and documents of its own.
struct Phase {
  Schedule schedule;  // of the phase's own steps
  double rate = 1;    // times the run's learning rates
  // The weights are rounded to what is written and stand still; only expert biases move, once a
  // load window (Trainer::kLoadTokens), until they fit the model as it will be served.
  bool settles = false;
  double balance_rate = 0.02;       // lambda
  double balance_rate_end = 0.005;  // what it falls to as the learning rate does
  double balance_weight = 0;        // of the sequence-wise balance loss, with every method
  Course course;
  // What the documents are, in words; not of the file: who makes them says it. Empty: unknown.
  std::string data_identity;
};

// Where a step stands.
struct PhaseStep {
  size_t phase = 0;
  uint64_t step = 1;  // of the phase, from 1
};

struct TrainConfig {
  uint64_t seed = 1;
  ModelSpec model;
  std::string tokenizer = "tokenizer.json";  // relative to the config file
  size_t batch_rows = 2;
  PackerOptions packer;  // its seed is the run's
  OptimizerOptions optimizer;
  double z_weight = 1e-4;
  BalanceOptions balance;
  ExpertFormat experts = ExpertFormat::kBf16;
  uint64_t checkpoint_every = 250;                    // steps
  std::vector<Phase> phases = std::vector<Phase>(1);  // one after the other; at least one

  uint64_t steps() const;  // of all phases
  // step: 1..steps().
  PhaseStep PhaseOf(uint64_t step) const;
  // What a checkpoint behind `step` must agree with to be continued: all that the run has been up
  // to there, so that phases can be added to a run that has ended.
  RunIdentity Identity(uint64_t step) const;
};

// kInvalidArgument with the path of the key, what was found and what was expected; errors of
// reading the file.
absl::StatusOr<TrainConfig> ParseTrainConfig(const JsonValue& root);
absl::StatusOr<TrainConfig> ReadTrainConfig(const std::string& path);

}  // namespace tessera::trainer
