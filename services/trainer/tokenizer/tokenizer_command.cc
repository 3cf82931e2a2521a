#include "services/trainer/tokenizer/tokenizer_command.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json.h"
#include "services/trainer/corpus/corpus.h"
#include "services/trainer/corpus/draw.h"
#include "services/trainer/corpus/lexicon.h"
#include "services/trainer/tokenizer/bpe_trainer.h"

namespace tessera::trainer {
namespace {

struct TokenizerOptions {
  std::string config;
  std::string out;
  uint64_t seed = 1;
  size_t conversations = 8'000;
};

absl::Status ReadConfig(TokenizerOptions& options) {
  if (options.config.empty()) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::ReadFile(options.config));
  if (const auto seed = document.root().Find("seed")) {
    TESSERA_ASSIGN_OR_RETURN(options.seed, seed->AsUnsigned());
  }
  return absl::OkStatus();
}

// Words that conversations copy from one place to another. A word that looks made up but comes
// again and again belongs to the frames, if it has more than one syllable.
bool IsCopied(std::string_view word, const PieceCounts& counts, uint64_t conversations) {
  for (const auto list :
       {CommonWords(), FirstNames(), Cities(), Colours(), Animals(), Foods(), Jobs(), Months()}) {
    if (std::find(list.begin(), list.end(), word) != list.end()) return true;
  }
  if (!LooksMadeUp(word)) return false;
  const auto found = counts.words.find(std::string(word));
  const uint64_t count = found == counts.words.end() ? 0 : found->second;
  return word.size() < 5 || count * 400 < conversations;
}

absl::Status LearnTokenizer(TokenizerOptions options, const cli::Streams& streams) {
  if (options.out.empty()) return absl::InvalidArgumentError("tokenizer needs --out=DIR");
  TESSERA_RETURN_IF_ERROR(ReadConfig(options));
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("--out: cannot create the folder ", options.out, ": ", error.message()));
  }
  PieceCounts counts;
  for (uint64_t i = 0; i < options.conversations; ++i) {
    counts.Add(RenderText(MakeConversation(options.seed, i)));
  }
  const std::vector<BpeMerge> merges = TrainBpe(
      counts, [&](std::string_view word) { return IsCopied(word, counts, options.conversations); },
      {});
  const std::string path = options.out + "/tokenizer.json";
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << TokenizerJson(merges);
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat("cannot write '", path, "'"));
  streams.out << path << ": " << ControlTokens().size() + 256 + merges.size() << " tokens, "
              << merges.size() << " merges from " << options.conversations << " conversations\n";
  return absl::OkStatus();
}

}  // namespace

int RunTokenizer(std::span<const std::string_view> args, const cli::Streams& streams) {
  TokenizerOptions options;
  cli::FlagSet flags("tokenizer --config=FILE --out=DIR", "Learns the tokenizer of a run.",
                     "tessera-train");
  flags.Add("config", &options.config, "the run's config file");
  flags.Add("out", &options.out, "folder that gets tokenizer.json");
  flags.Add("conversations", &options.conversations, "of the corpus that are read");
  return cli::RunWithFlags(flags, args, streams, [&] { return LearnTokenizer(options, streams); });
}

}  // namespace tessera::trainer
