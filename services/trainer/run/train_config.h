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
//     "output": {"experts": "bf16", "checkpoint_every": 250}
//   }
//
// Every key but steps and model has the default shown; an unknown key is an error.

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/json/json.h"
#include "common/model/model_spec.h"
#include "services/trainer/optimizer/expert_balance.h"
#include "services/trainer/optimizer/optimizer.h"
#include "services/trainer/run/model_files.h"
#include "services/trainer/run/row_packer.h"
#include "services/trainer/run/schedule.h"

namespace tessera::trainer {

struct BalanceOptions {
  BalanceMethod method = BalanceMethod::kSmebu;
  double rate = 0.02;       // lambda
  double rate_end = 0.005;  // what it falls to as the learning rate does
  double momentum = 0.5;
  double aux_weight = 0.01;  // of the balance loss with method aux
};

struct TrainConfig {
  uint64_t seed = 1;
  ModelSpec model;
  std::string tokenizer = "tokenizer.json";  // relative to the config file
  size_t batch_rows = 2;
  PackerOptions packer;  // its seed is the run's
  Schedule schedule;
  OptimizerOptions optimizer;
  double z_weight = 1e-4;
  double balance_weight = 0;  // of the sequence-wise balance loss, with every method
  BalanceOptions balance;
  ExpertFormat experts = ExpertFormat::kBf16;
  uint64_t checkpoint_every = 250;  // steps
  // What the documents are, in words; not of the file: who makes them says it. Empty: unknown.
  std::string data_identity;

  // What a checkpoint must agree with to be continued: everything but output and data.
  std::string Fingerprint() const;
};

// kInvalidArgument with the path of the key, what was found and what was expected; errors of
// reading the file.
absl::StatusOr<TrainConfig> ParseTrainConfig(const JsonValue& root);
absl::StatusOr<TrainConfig> ReadTrainConfig(const std::string& path);

}  // namespace tessera::trainer
