#include "services/trainer/run/bench_command.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/concurrency/thread_pool.h"
#include "common/text/tokenizer.h"
#include "services/trainer/backward/fma_limit.h"
#include "services/trainer/corpus/corpus.h"
#include "services/trainer/run/operations.h"
#include "services/trainer/run/train_config.h"
#include "services/trainer/run/trainer.h"

namespace tessera::trainer {
namespace {

constexpr size_t kFirstSteps = 3;  // memory is touched, threads are awake

struct BenchFlags {
  std::string config;
  size_t steps = 20;
  size_t threads = 0;
};

// Operations a second of all threads of the pool together.
double MeasureLimit(ThreadPool& pool, const Clock& clock) {
  constexpr size_t kRounds = 100'000'000;
  std::vector<float> sums(pool.thread_count());
  const absl::Duration started = clock.Elapsed();
  // A thread that comes late finds its piece gone: many small ones, and all threads end together.
  constexpr size_t kPieces = 200;
  pool.ParallelFor(kPieces * sums.size(), 1, [&](size_t begin, size_t end, size_t worker) {
    sums[worker] += SpinFmas((end - begin) * kRounds / kPieces);
  });
  const double seconds = absl::ToDoubleSeconds(clock.Elapsed() - started);
  // A number that cannot be leaves no doubt that the sums were computed.
  if (!std::ranges::all_of(sums, [](float sum) { return sum >= 0; })) return 0;
  return static_cast<double>(kRounds * sums.size() * kFlopsPerFmaRound) / seconds;
}

struct Speed {
  size_t tokens = 0;
  double seconds = 0;
  double operations = 0;
};

absl::StatusOr<Speed> MeasureSteps(const TrainConfig& config, size_t steps, Trainer& trainer,
                                   const Clock& clock) {
  for (size_t i = 0; i < kFirstSteps; ++i) {
    TESSERA_RETURN_IF_ERROR(trainer.Step().status());
  }
  Speed speed;
  const absl::Duration started = clock.Elapsed();
  for (size_t i = 0; i < steps; ++i) {
    TESSERA_ASSIGN_OR_RETURN(const StepReport report, trainer.Step());
    speed.tokens += report.tokens;
    speed.operations +=
        OperationsOf(trainer.layout(), config.optimizer.muon, report.tokens, report.loss_tokens)
            .sum();
  }
  speed.seconds = absl::ToDoubleSeconds(clock.Elapsed() - started);
  return speed;
}

void Print(size_t threads, size_t steps, const Speed& speed, double limit, std::ostream& out) {
  const double rate = speed.operations / speed.seconds;
  out << absl::StreamFormat(
      "%d threads: %.0f tokens/s, %.3f s a step (%d steps)\n"
      "%.1f GFLOP/s in products and Muon, %.2f MFLOP a token\n"
      "%.0f %% of the %.1f GFLOP/s that these threads can do in fused multiply-adds (AVX2)\n",
      threads, static_cast<double>(speed.tokens) / speed.seconds,
      speed.seconds / static_cast<double>(steps), steps, rate / 1e9,
      speed.operations / 1e6 / static_cast<double>(speed.tokens), 100 * rate / limit, limit / 1e9);
}

absl::Status Bench(const BenchFlags& flags, const cli::Streams& streams) {
  if (flags.config.empty() || flags.steps == 0) {
    return absl::InvalidArgumentError("bench needs --config=FILE and --steps of at least 1");
  }
  TESSERA_ASSIGN_OR_RETURN(TrainConfig config, ReadTrainConfig(flags.config));
  config.phases.resize(1);
  config.phases[0].schedule.steps =
      std::max<uint64_t>(config.phases[0].schedule.steps, kFirstSteps + flags.steps);
  const auto folder = std::filesystem::path(flags.config).parent_path();
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                           Tokenizer::Load((folder / config.tokenizer).string()));
  const Corpus corpus(*tokenizer, config.seed);
  ThreadPool pool({.thread_count = flags.threads});
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                           Trainer::Create(config, corpus, pool));
  const RealClock clock;
  const double before = MeasureLimit(pool, clock);
  TESSERA_ASSIGN_OR_RETURN(const Speed speed, MeasureSteps(config, flags.steps, *trainer, clock));
  // The better of two: others on the machine can only take away.
  const double limit = std::max(before, MeasureLimit(pool, clock));
  Print(pool.thread_count(), flags.steps, speed, limit, streams.out);
  return absl::OkStatus();
}

}  // namespace

int RunBench(std::span<const std::string_view> args, const cli::Streams& streams) {
  BenchFlags options;
  cli::FlagSet flags("bench --config=FILE [--steps=N] [--threads=N]",
                     "Prints how fast the run that FILE describes trains on this machine.");
  flags.Add("config", &options.config, "the run's description, JSON");
  flags.Add("steps", &options.steps, "to measure");
  flags.Add("threads", &options.threads, "threads that compute; 0: as many as there are CPUs");
  return cli::RunWithFlags(flags, args, streams, [&] { return Bench(options, streams); });
}

}  // namespace tessera::trainer
