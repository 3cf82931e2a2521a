#include "services/trainer/run/balance_command.h"

#include <memory>
#include <ostream>
#include <string>

#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/concurrency/thread_pool.h"
#include "common/model/model_config.h"
#include "common/text/tokenizer.h"
#include "services/trainer/corpus/corpus.h"
#include "services/trainer/run/expert_load.h"
#include "services/trainer/run/model_files.h"
#include "services/trainer/run/train_config.h"
#include "services/trainer/run/trainer.h"

namespace tessera::trainer {
namespace {

struct BalanceFlags {
  std::string model;
  std::string config;
  size_t tokens = 100'000;
  size_t seed = 1;
  size_t threads = 0;
  bool new_words = false;
};

// A run's documents come from its seed as it is: none of them are among those of another seed.
absl::StatusOr<Corpus> HeldOut(const BalanceFlags& flags, const Tokenizer& tokenizer) {
  Course course;
  if (!flags.config.empty()) {
    TESSERA_ASSIGN_OR_RETURN(const TrainConfig config, ReadTrainConfig(flags.config));
    course = config.phases.back().course;
  }
  return Corpus(tokenizer, MixBits(flags.seed),
                flags.new_words ? Split::kHeldOut : Split::kTraining, {course});
}

void Print(const ModelSpec& spec, const ExpertLoad& load, std::ostream& out) {
  out << "layer  mean/max  least  MaxVio   Jain  unused  never used\n";
  for (size_t i = 0; i < load.layers.size(); ++i) {
    const LayerLoad& layer = load.layers[i];
    out << absl::StreamFormat("%5d  %8.3f  %5.3f  %6.3f  %5.3f  %6.1f  %10d\n",
                              i + spec.dense_layer_count, layer.mean_over_max,
                              layer.mean_over_max_least, layer.max_violation, layer.jain,
                              layer.unused, layer.never_used);
  }
  out << absl::StreamFormat(" mean  %8.3f\n\n", load.mean_over_max())
      << absl::StreamFormat(
             "%d held-out tokens, %d windows of %d; loss %.4f, %.1f %% of tokens predicted\n",
             load.tokens, load.windows, Trainer::kLoadTokens, load.loss, 100 * load.accuracy)
      << absl::StreamFormat("experts drawn by chance would give mean/max %.3f\n", load.chance);
}

absl::Status Measure(const BalanceFlags& flags, const cli::Streams& streams) {
  if (flags.model.empty()) return absl::InvalidArgumentError("balance needs --model=DIR");
  TESSERA_ASSIGN_OR_RETURN(const ModelSpec spec, ReadModelSpec(flags.model));
  TESSERA_ASSIGN_OR_RETURN(const ParameterLayout layout, ParameterLayout::Of(spec));
  std::vector<float> values(layout.size);
  std::vector<float> expert_bias(spec.moe_layer_count() * spec.expert_count);
  TESSERA_RETURN_IF_ERROR(ReadModel(flags.model, layout, values, expert_bias));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                           Tokenizer::Load(flags.model + "/tokenizer.json"));
  TESSERA_ASSIGN_OR_RETURN(const Corpus corpus, HeldOut(flags, *tokenizer));
  ThreadPool pool({.thread_count = flags.threads});
  TESSERA_ASSIGN_OR_RETURN(const ExpertLoad load,
                           MeasureExpertLoad(layout, {values, expert_bias}, corpus,
                                             {.tokens = flags.tokens, .seed = flags.seed}, pool));
  Print(spec, load, streams.out);
  return absl::OkStatus();
}

}  // namespace

int RunBalance(std::span<const std::string_view> args, const cli::Streams& streams) {
  BalanceFlags options;
  cli::FlagSet flags("balance --model=DIR [--tokens=N] [--seed=N]",
                     "Prints how evenly a model's experts are loaded, layer by layer, by mixed "
                     "documents that it was not trained on.",
                     "tessera-train");
  flags.Add("model", &options.model, "folder of a model that `train` wrote");
  flags.Add("config", &options.config,
            "description of a run: documents as in its last phase; empty: as runs begin");
  flags.Add("tokens", &options.tokens, "of the documents, about");
  flags.Add("seed", &options.seed, "of the documents");
  flags.Add("new_words", &options.new_words,
            "only documents of words, frames and topics that are never trained on");
  flags.Add("threads", &options.threads, "threads that compute; 0: as many as there are CPUs");
  return cli::RunWithFlags(flags, args, streams, [&] { return Measure(options, streams); });
}

}  // namespace tessera::trainer
