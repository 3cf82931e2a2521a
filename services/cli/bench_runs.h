#pragma once

// The measured runs of `tessera bench`, apart from how they are printed.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "services/cli/local_engine.h"

namespace tessera::cli {

struct BenchCase {
  size_t batch = 1;             // sequences at the same time
  size_t prompt_tokens = 512;   // of each, in the prefill run; 0: no prefill run
  size_t generate_tokens = 64;  // of each, in the decode run; 0: no decode run
  bool all_logits = false;      // prefill projects every position, not the last only
};

struct DecodeResult {
  double tokens_per_second = 0;  // all sequences together
  double ms_per_token_p50 = 0;   // time of a step
  double ms_per_token_p99 = 0;
  double bytes_per_step = 0;  // weights read
};

// Takes tokens and throws them away.
class NullSink final : public router::TokenSink {
 public:
  void OnToken(const router::Sequence&, const router::SampledToken&) override {}
  void OnPromptLogits(const router::Sequence&, uint32_t, std::span<const float>) override {}
  void OnFinished(std::unique_ptr<router::Sequence> sequence) override {
    if (status_.ok()) status_ = sequence->error();
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

// Runs cases on one engine; every run has new random tokens. Thread-compatible.
class BenchRunner {
 public:
  // All borrowed; `sink` is the engine's.
  BenchRunner(LocalEngine& engine, const NullSink& sink, const Clock& clock, uint64_t seed)
      : engine_(engine), sink_(sink), clock_(clock), random_(seed) {}

  // Prompt tokens a second, from the submission to the first token of the last sequence.
  absl::StatusOr<double> Prefill(const BenchCase& c);
  // Steps in which all sequences decode, after a prompt of one token each.
  // kInternal: the engine holds fewer at the same time than its capacity promised.
  absl::StatusOr<DecodeResult> Decode(const BenchCase& c);

 private:
  absl::Status Submit(const BenchCase& c, size_t prompt_tokens, size_t generate_tokens,
                      bool all_logits);
  absl::Status Drain();

  LocalEngine& engine_;
  const NullSink& sink_;
  const Clock& clock_;
  Random random_;
  uint64_t next_id_ = 1;
};

// The value below which the share `quantile` of `values` lies (nearest rank); 0 for none.
double Quantile(std::vector<double> values, double quantile);

}  // namespace tessera::cli
