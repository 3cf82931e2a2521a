#pragma once

// What a run tells: a CSV file with a line a step, for pictures, and a line for people.

#include <cstdint>
#include <fstream>
#include <iosfwd>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "services/trainer/run/trainer.h"

namespace tessera::trainer {

// Columns: step, tokens (so far), loss, accuracy, gradient_norm, rate_scale, seconds (of the step);
// per MoE layer L of this step maxvio_L and unused_L; per MoE layer, in lines that end a window of
// Trainer::kLoadTokens, load_L: mean over largest load of an expert in it. Thread-compatible.
class StepLog {
 public:
  // Lines after `step` are dropped: the run they belong to is taken up there. kUnavailable: the
  // file cannot be written.
  static absl::StatusOr<StepLog> Open(const std::string& path, const ModelSpec& spec,
                                      uint64_t step);
  void Add(const StepReport& report, absl::Duration took);
  // Everything is in the file; kUnavailable: it could not be written.
  absl::Status Flush();
  uint64_t tokens() const { return tokens_; }  // of all lines

 private:
  StepLog() = default;
  std::string path_;
  std::ofstream file_;
  uint64_t tokens_ = 0;
};

// Loss, speed, balance, time left. On a terminal redrawn in place, elsewhere a line now and then.
class ProgressLine {
 public:
  // `out` and `clock` are borrowed.
  ProgressLine(std::ostream& out, bool is_terminal, const Clock& clock, uint64_t first_step,
               uint64_t steps);
  void Show(const StepReport& report);

 private:
  std::ostream& out_;
  const bool is_terminal_;
  const Clock& clock_;
  const uint64_t first_step_;
  const uint64_t steps_;
  const absl::Duration started_;
  absl::Duration drawn_;
  uint64_t tokens_ = 0;
  double loss_ = 0;  // running mean, like the two below
  double violation_ = 0;
  double load_ = 0;  // of the last window
};

}  // namespace tessera::trainer
