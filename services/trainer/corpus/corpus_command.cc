#include "services/trainer/corpus/corpus_command.h"

#include <algorithm>
#include <numeric>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "services/trainer/corpus/corpus.h"

namespace tessera::trainer {
namespace {

struct CorpusOptions {
  std::string skill;
  std::string tokenizer;
  size_t seed = 1;
  size_t count = 0;  // 0: 5 to print, 2000 to count
};

void Print(const CorpusOptions& options, const cli::Streams& streams) {
  for (size_t i = 0; i < (options.count > 0 ? options.count : 5); ++i) {
    const Conversation conversation = options.skill.empty()
                                          ? MakeConversation(options.seed, i)
                                          : MakeConversationOf(options.skill, options.seed, i);
    streams.out << "--- " << i << " " << conversation.skill << "\n" << RenderText(conversation);
  }
}

struct Sums {
  size_t documents = 0, tokens = 0, loss_tokens = 0, bytes = 0, tokens_max = 0;
};

absl::StatusOr<Sums> Count(std::string_view skill, size_t count, const CorpusOptions& options,
                           const Tokenizer& tokenizer) {
  Sums sums{.documents = count};
  for (size_t i = 0; i < count; ++i) {
    const Conversation conversation = skill == "all" ? MakeConversation(options.seed, i)
                                                     : MakeConversationOf(skill, options.seed, i);
    TESSERA_ASSIGN_OR_RETURN(const Document document, Encode(conversation, tokenizer));
    sums.tokens += document.ids.size();
    sums.tokens_max = std::max(sums.tokens_max, document.ids.size());
    sums.loss_tokens +=
        std::accumulate(document.has_loss.begin(), document.has_loss.end(), size_t{0});
    sums.bytes += RenderText(conversation).size();
  }
  return sums;
}

absl::Status PrintCounts(const CorpusOptions& options, const cli::Streams& streams) {
  TESSERA_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(options.tokenizer));
  std::vector<std::string_view> skills(CorpusSkills().begin(), CorpusSkills().end());
  if (!options.skill.empty()) skills = {options.skill};
  skills.push_back("all");
  const size_t count = options.count > 0 ? options.count : 2000;
  for (const std::string_view skill : skills) {
    TESSERA_ASSIGN_OR_RETURN(const Sums sums, Count(skill, count, options, *tokenizer));
    const double documents = static_cast<double>(sums.documents);
    streams.out << absl::StreamFormat(
        "%-10s %7.1f tokens a document (at most %d), %6.1f with loss, %.2f bytes a token\n", skill,
        static_cast<double>(sums.tokens) / documents, sums.tokens_max,
        static_cast<double>(sums.loss_tokens) / documents,
        static_cast<double>(sums.bytes) / static_cast<double>(sums.tokens));
  }
  return absl::OkStatus();
}

std::string Names(std::span<const std::string_view> names) {
  std::string text;
  for (const std::string_view name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

absl::Status Show(const CorpusOptions& options, const cli::Streams& streams) {
  const auto skills = CorpusSkills();
  if (!options.skill.empty() &&
      std::find(skills.begin(), skills.end(), options.skill) == skills.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--skill=", options.skill, ": there are ", Names(skills)));
  }
  if (!options.tokenizer.empty()) return PrintCounts(options, streams);
  Print(options, streams);
  return absl::OkStatus();
}

}  // namespace

int RunCorpus(std::span<const std::string_view> args, const cli::Streams& streams) {
  CorpusOptions options;
  cli::FlagSet flags("corpus [--skill=S] [--seed=N] [--count=N]",
                     "Shows what a model is trained on.", "tessera-train");
  flags.Add("skill", &options.skill, "faq, arithmetic, tools, recall, talk or text; empty: mixed");
  flags.Add("tokenizer", &options.tokenizer, "tokenizer.json: count tokens instead of printing");
  flags.Add("seed", &options.seed, "of the corpus");
  flags.Add("count", &options.count, "conversations; 0: 5 to print, 2000 to count");
  return cli::RunWithFlags(flags, args, streams, [&] { return Show(options, streams); });
}

}  // namespace tessera::trainer
