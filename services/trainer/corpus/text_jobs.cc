#include "services/trainer/corpus/text_jobs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "services/trainer/corpus/lexicon.h"

namespace tessera::trainer {
namespace {

constexpr auto kRepeatFrames = std::to_array<std::string_view>(
    {"Repeat: $", "Repeat these words: $", "Say: $", "Please repeat: $", "Repeat after me: $",
     "Repeat the words: $", "repeat: $", "repeat $", "Say the words $.", "Write: $",
     "Copy these words: $", "Echo: $", "Can you repeat $?"});
constexpr auto kReverseFrames = std::to_array<std::string_view>(
    {"Reverse: $", "Reverse these words: $", "Reverse the words: $",
     "Reverse the order of these words: $", "Please reverse: $", "reverse: $", "reverse $",
     "Say backwards: $", "Turn around the words: $", "Write these words in reverse order: $",
     "Reverse the words $.", "Can you reverse $?"});
constexpr auto kUpperFrames = std::to_array<std::string_view>(
    {"Upper-case: $", "Write in upper case: $", "Upper case: $", "upper-case: $", "Uppercase: $",
     "Write in capital letters: $", "In capitals: $", "Put in upper case: $", "uppercase $",
     "Make these words upper case: $", "Convert to upper case: $", "Can you upper-case $?",
     "Shout: $"});
constexpr auto kSortFrames = std::to_array<std::string_view>(
    {"Sort: $", "Sort these words: $", "Sort the words: $", "Sort alphabetically: $",
     "Please sort: $", "sort: $", "sort $", "Put in alphabetical order: $", "Sort from a to z: $",
     "Order these words: $", "Sort the words $.", "Can you sort $?", "Arrange alphabetically: $"});

std::span<const std::string_view> FramesOf(TextJob job) {
  switch (job) {
    case TextJob::kRepeat:
      return kRepeatFrames;
    case TextJob::kReverse:
      return kReverseFrames;
    case TextJob::kUpper:
      return kUpperFrames;
    default:
      return kSortFrames;
  }
}

std::vector<std::string> Words(TextJob job, Draw& draw) {
  const size_t count = draw.Between(job == TextJob::kUpper ? 1 : 2, job == TextJob::kUpper ? 4 : 6);
  const bool made_up = draw.Chance(0.5);
  const bool mixed = draw.Chance(0.3);
  std::vector<std::string> words;
  while (words.size() < count) {
    const bool is_made_up = mixed ? draw.Chance(0.5) : made_up;
    std::string word = is_made_up ? draw.Word(1, 3) : draw.Of(CommonWords());
    const bool clashes = std::any_of(words.begin(), words.end(), [&](const std::string& w) {
      return w == word || (job == TextJob::kSort && w[0] == word[0]);
    });
    if (!clashes) words.push_back(std::move(word));
  }
  if (job == TextJob::kRepeat && draw.Chance(0.2)) {
    words[draw.Below(words.size())] = draw.Chance(0.5) ? draw.Of(FirstNames()) : draw.Digits(3);
  }
  return words;
}

}  // namespace

void AddTextJob(TextJob job, Draw& draw, Conversation& conversation) {
  std::vector<std::string> words = Words(job, draw);
  const std::string joiner = draw.Chance(0.2) ? ", " : " ";
  std::string question =
      absl::StrReplaceAll(draw.Of(FramesOf(job)), {{"$", absl::StrJoin(words, joiner)}});
  switch (job) {
    case TextJob::kRepeat:
      break;
    case TextJob::kReverse:
      std::reverse(words.begin(), words.end());
      break;
    case TextJob::kUpper:
      for (std::string& word : words) absl::AsciiStrToUpper(&word);
      break;
    case TextJob::kSort:
      std::sort(words.begin(), words.end());
      break;
  }
  conversation.User(std::move(question));
  conversation.Assistant(absl::StrJoin(words, joiner));
}

}  // namespace tessera::trainer
