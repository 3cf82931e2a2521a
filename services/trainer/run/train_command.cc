#include "services/trainer/run/train_command.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/concurrency/thread_pool.h"
#include "common/text/tokenizer.h"
#include "services/trainer/corpus/corpus.h"
#include "services/trainer/run/stop_request.h"
#include "services/trainer/run/train_config.h"
#include "services/trainer/run/train_log.h"
#include "services/trainer/run/trainer.h"

namespace tessera::trainer {
namespace {

constexpr uint64_t kLogFlushSteps = 20;  // who watches steps.csv sees that often what is new

struct TrainFlags {
  std::string config;
  std::string out;
  std::string balance;
  std::string start_from;
  bool resume = false;
  size_t threads = 0;
  size_t steps = 0;
  size_t stop_after = 0;
};

absl::Status CreateFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot create ", path, ": ", error.message()));
}

// The files that stand beside a model's weights: tokenizer, template, generation config.
absl::Status CopyBeside(const std::string& tokenizer_path, const std::string& out) {
  const std::filesystem::path from = std::filesystem::path(tokenizer_path).parent_path();
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
                           "generation_config.json"}) {
    std::error_code error;
    if (!std::filesystem::exists(from / name, error)) continue;
    if (std::filesystem::equivalent(from, out, error)) continue;
    std::filesystem::copy_file(from / name, std::filesystem::path(out) / name,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("cannot copy ", name, " to ", out, ": ", error.message()));
    }
  }
  return absl::OkStatus();
}

// The files of a run in its folder.
struct RunFiles {
  std::string folder;
  std::string state() const { return folder + "/state.safetensors"; }
  std::string log() const { return folder + "/steps.csv"; }
};

absl::Status Checkpoint(Trainer& trainer, const RunFiles& files, const TrainConfig& config,
                        StepLog& log) {
  TESSERA_RETURN_IF_ERROR(log.Flush());
  TESSERA_RETURN_IF_ERROR(trainer.Save(files.state()));
  return WriteModel(files.folder, trainer.layout(), trainer.weights(), config.experts);
}

// Until last_step, or until somebody wants to stop; a checkpoint is the last thing it does.
absl::Status TakeSteps(Trainer& trainer, const TrainConfig& config, const RunFiles& files,
                       uint64_t last_step, const StopRequest& stop, std::ostream& err) {
  const RealClock clock;
  TESSERA_ASSIGN_OR_RETURN(StepLog log, StepLog::Open(files.log(), config.model, trainer.step()));
  ProgressLine progress(err, cli::IsTerminal(err), clock, trainer.step(), last_step);
  bool stops = false;
  while (trainer.step() < last_step && !stops) {
    const absl::Duration started = clock.Elapsed();
    TESSERA_ASSIGN_OR_RETURN(const StepReport report, trainer.Step());
    log.Add(report, clock.Elapsed() - started);
    progress.Show(report);
    stops = stop.made();
    if (stops || report.step % config.checkpoint_every == 0 || report.step == last_step) {
      TESSERA_RETURN_IF_ERROR(Checkpoint(trainer, files, config, log));
    } else if (report.step % kLogFlushSteps == 0) {
      TESSERA_RETURN_IF_ERROR(log.Flush());
    }
  }
  return absl::OkStatus();
}

std::vector<Course> CoursesOf(const TrainConfig& config) {
  std::vector<Course> courses;
  for (const Phase& phase : config.phases) courses.push_back(phase.course);
  return courses;
}

// Of the tokenizer's file and of the corpora; what a checkpoint is compared by.
absl::Status IdentifyData(const std::string& tokenizer_path, TrainConfig& config) {
  std::ifstream file(tokenizer_path, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) return absl::UnavailableError(absl::StrCat("cannot read ", tokenizer_path));
  const std::string tokenizer =
      absl::StrCat("tokenizer ", absl::Hex(HashText(content), absl::kZeroPad16), ", ");
  for (size_t i = 0; i < config.phases.size(); ++i) {
    Phase& phase = config.phases[i];
    phase.data_identity =
        absl::StrCat(i == 0 ? tokenizer : "", "corpus ",
                     absl::Hex(CorpusIdentity(config.seed, phase.course), absl::kZeroPad16));
  }
  return absl::OkStatus();
}

absl::Status Prepare(Trainer& trainer, const TrainFlags& flags, const RunFiles& files) {
  const bool has_state = std::filesystem::exists(files.state());
  if (flags.resume && has_state) return trainer.Restore(files.state());
  if (has_state) {
    return absl::FailedPreconditionError(
        absl::StrCat(files.state(), " is there: --resume goes on from it; or remove it"));
  }
  if (!flags.start_from.empty()) return trainer.StartFrom(flags.start_from);
  return absl::OkStatus();
}

absl::Status Train(const TrainFlags& flags, const cli::Streams& streams) {
  const StopRequest stop;
  if (flags.config.empty() || flags.out.empty()) {
    return absl::InvalidArgumentError("train needs --config=FILE and --out=DIR");
  }
  TESSERA_ASSIGN_OR_RETURN(TrainConfig config, ReadTrainConfig(flags.config));
  if (flags.steps > 0) {
    config.phases.resize(1);
    config.phases[0].schedule.steps = flags.steps;
  }
  if (!flags.balance.empty()) {
    TESSERA_ASSIGN_OR_RETURN(config.balance.method, ParseBalanceMethod(flags.balance));
  }
  const std::string tokenizer_path =
      (std::filesystem::path(flags.config).parent_path() / config.tokenizer).string();
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                           Tokenizer::Load(tokenizer_path));
  TESSERA_RETURN_IF_ERROR(IdentifyData(tokenizer_path, config));
  const Corpus corpus(*tokenizer, config.seed, Split::kTraining, CoursesOf(config));
  ThreadPool pool({.thread_count = flags.threads});
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                           Trainer::Create(config, corpus, pool));
  const RunFiles files = {flags.out};
  TESSERA_RETURN_IF_ERROR(CreateFolder(flags.out));
  TESSERA_RETURN_IF_ERROR(Prepare(*trainer, flags, files));
  TESSERA_RETURN_IF_ERROR(CopyBeside(tokenizer_path, flags.out));
  const uint64_t last_step =
      flags.stop_after > 0 ? std::min<uint64_t>(flags.stop_after, config.steps()) : config.steps();
  TESSERA_RETURN_IF_ERROR(TakeSteps(*trainer, config, files, last_step, stop, streams.err));
  streams.out << (stop.made() ? "stopped as asked: " : "") << "trained " << trainer->step()
              << " of " << config.steps() << " steps: " << flags.out << "\n";
  return absl::OkStatus();
}

}  // namespace

int RunTrain(std::span<const std::string_view> args, const cli::Streams& streams) {
  TrainFlags options;
  cli::FlagSet flags("train --config=FILE --out=DIR",
                     "Trains the model that FILE describes and writes it to DIR, with steps.csv "
                     "and what a later run goes on from.",
                     "tessera-train");
  flags.Add("config", &options.config, "the run's description, JSON");
  flags.Add("out", &options.out, "folder to write to");
  flags.Add("resume", &options.resume, "go on from the last checkpoint in DIR, if there is one");
  flags.Add("threads", &options.threads, "threads that compute; 0: as many as there are CPUs");
  flags.Add("steps", &options.steps, "length of a run without later phases; 0: as the file says");
  flags.Add("stop_after", &options.stop_after,
            "stop and checkpoint after this step of the run; 0: at its end");
  flags.Add("balance", &options.balance,
            "smebu, sign, aux or none instead of the file's balance.method");
  flags.Add("start_from", &options.start_from, "folder of a model whose weights to begin with");
  return cli::RunWithFlags(flags, args, streams, [&] { return Train(options, streams); });
}

}  // namespace tessera::trainer
