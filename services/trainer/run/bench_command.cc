#include "services/trainer/run/bench_command.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
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

// Of the whole process.
double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What took how long; on a crowded machine the time that the process ran says more than the time
// that went by.
struct Speed {
  size_t tokens = 0;
  double operations = 0;
  double seconds = 0;
  double cpu_seconds = 0;

  double rate() const { return operations / seconds; }
  double cpu_rate() const { return operations / cpu_seconds; }
};

class StopWatch {
 public:
  explicit StopWatch(const Clock& clock)
      : clock_(clock), started_(clock.Elapsed()), cpu_started_(CpuSeconds()) {}
  void Stop(Speed& speed) const {
    speed.seconds = absl::ToDoubleSeconds(clock_.Elapsed() - started_);
    speed.cpu_seconds = CpuSeconds() - cpu_started_;
  }

 private:
  const Clock& clock_;
  const absl::Duration started_;
  const double cpu_started_;
};

// Of all threads of the pool together.
Speed MeasureLimit(ThreadPool& pool, const Clock& clock) {
  constexpr size_t kRounds = 100'000'000;
  std::vector<float> sums(pool.thread_count());
  const StopWatch watch(clock);
  // A thread that comes late finds its piece gone: many small ones, and all threads end together.
  constexpr size_t kPieces = 200;
  pool.ParallelFor(kPieces * sums.size(), 1, [&](size_t begin, size_t end, size_t worker) {
    sums[worker] += SpinFmas((end - begin) * kRounds / kPieces);
  });
  Speed speed;
  watch.Stop(speed);
  // A number that cannot be leaves no doubt that the sums were computed.
  if (!std::ranges::all_of(sums, [](float sum) { return sum >= 0; })) return speed;
  speed.operations = static_cast<double>(kRounds * sums.size() * kFlopsPerFmaRound);
  return speed;
}

absl::StatusOr<Speed> MeasureSteps(const TrainConfig& config, size_t steps, Trainer& trainer,
                                   const Clock& clock) {
  for (size_t i = 0; i < kFirstSteps; ++i) {
    TESSERA_RETURN_IF_ERROR(trainer.Step().status());
  }
  Speed speed;
  const StopWatch watch(clock);
  for (size_t i = 0; i < steps; ++i) {
    TESSERA_ASSIGN_OR_RETURN(const StepReport report, trainer.Step());
    speed.tokens += report.tokens;
    speed.operations +=
        OperationsOf(trainer.layout(), config.optimizer.muon, report.tokens, report.loss_tokens)
            .sum();
  }
  watch.Stop(speed);
  return speed;
}

// limits: measured before and behind. Others on the machine can only take away from one.
void Print(size_t threads, size_t steps, const Speed& speed, const Speed (&limits)[2],
           std::ostream& out) {
  const double limit = std::max(limits[0].rate(), limits[1].rate());
  const double cpu_limit = std::max(limits[0].cpu_rate(), limits[1].cpu_rate());
  const auto count = static_cast<double>(steps), tokens = static_cast<double>(speed.tokens);
  double load = 0;
  getloadavg(&load, 1);
  out << absl::StreamFormat(
      "%d threads: %.0f tokens/s, %.3f s a step, %.3f s of processor time a step (%d steps; load "
      "of the machine %.1f)\n"
      "%.1f GFLOP/s in products and Muon, %.2f MFLOP a token\n"
      "%.0f %% of the %.1f GFLOP/s that these threads can do in fused multiply-adds (AVX2)\n"
      "%.0f %% of the %.1f GFLOP that a second of processor time can do: %.0f tokens of such a "
      "second\n",
      threads, tokens / speed.seconds, speed.seconds / count, speed.cpu_seconds / count, steps,
      load, speed.rate() / 1e9, speed.operations / 1e6 / tokens, 100 * speed.rate() / limit,
      limit / 1e9, 100 * speed.cpu_rate() / cpu_limit, cpu_limit / 1e9, tokens / speed.cpu_seconds);
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
  const Speed before = MeasureLimit(pool, clock);
  TESSERA_ASSIGN_OR_RETURN(const Speed speed, MeasureSteps(config, flags.steps, *trainer, clock));
  Print(pool.thread_count(), flags.steps, speed, {before, MeasureLimit(pool, clock)}, streams.out);
  return absl::OkStatus();
}

}  // namespace

int RunBench(std::span<const std::string_view> args, const cli::Streams& streams) {
  BenchFlags options;
  cli::FlagSet flags("bench --config=FILE [--steps=N] [--threads=N]",
                     "Prints how fast the run that FILE describes trains on this machine.",
                     "tessera-train");
  flags.Add("config", &options.config, "the run's description, JSON");
  flags.Add("steps", &options.steps, "to measure");
  flags.Add("threads", &options.threads, "threads that compute; 0: as many as there are CPUs");
  return cli::RunWithFlags(flags, args, streams, [&] { return Bench(options, streams); });
}

}  // namespace tessera::trainer
