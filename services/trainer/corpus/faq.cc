#include "services/trainer/corpus/faq.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace tessera::trainer {
namespace {

constexpr auto kHowFrames = std::to_array<std::string_view>(
    {"How do I $?", "How can I $?", "How to $?", "I want to $.", "Tell me how to $.",
     "Show me how to $.", "What must I do to $?", "What do I do to $?", "Please explain how to $.",
     "Can you tell me how to $?", "I need to $.", "What is the way to $?", "How does one $?",
     "Is there a way to $?", "I would like to $.", "Help me to $."});
constexpr auto kWhatFrames = std::to_array<std::string_view>(
    {"What is $?", "What's $?", "Explain $.", "Tell me about $.", "Can you explain $?",
     "Describe $.", "What do you know about $?", "$?", "I have a question about $.",
     "What can you tell me about $?", "Please explain $.", "Please tell me about $.",
     "Say something about $.", "I want to know about $.", "Give me a short explanation of $.",
     "What about $?"});

// Of a course with more frames, besides the trained ones above.
constexpr auto kMoreHowFrames = std::to_array<std::string_view>({"What is the best way to $?",
                                                                 "What are the steps to $?",
                                                                 "How would I $?",
                                                                 "How could I $?",
                                                                 "How should I $?",
                                                                 "How do you $?",
                                                                 "How do we $?",
                                                                 "Could you tell me how to $?",
                                                                 "I am trying to $.",
                                                                 "Let me $.",
                                                                 "Give me the command to $.",
                                                                 "Is it possible to $?",
                                                                 "Can I $?",
                                                                 "Can you $ for me?",
                                                                 "Which steps do I take to $?",
                                                                 "Explain to me how to $.",
                                                                 "Teach me to $.",
                                                                 "I have to $.",
                                                                 "Where do I start to $?",
                                                                 "What if I want to $?",
                                                                 "Say how to $."});
constexpr auto kMoreWhatFrames = std::to_array<std::string_view>({"What exactly is $?",
                                                                  "What is meant by $?",
                                                                  "Could you explain $?",
                                                                  "Could you tell me about $?",
                                                                  "I would love to hear about $.",
                                                                  "I want an explanation of $.",
                                                                  "Give me some facts about $.",
                                                                  "Give me details on $.",
                                                                  "Give me an idea of $.",
                                                                  "What should I know about $?",
                                                                  "Do you know $?",
                                                                  "Can you describe $?",
                                                                  "Talk about $.",
                                                                  "In short, what is $?",
                                                                  "A few words about $, please.",
                                                                  "How would you explain $?",
                                                                  "I do not understand $.",
                                                                  "Remind me of $.",
                                                                  "And $?",
                                                                  "Explain $ in short.",
                                                                  "Let me hear about $.",
                                                                  "Teach me about $."});

struct Frames {
  std::span<const std::string_view> first;
  std::span<const std::string_view> more;
};
constexpr Frames kHow = {kHowFrames, kMoreHowFrames};
constexpr Frames kWhat = {kWhatFrames, kMoreWhatFrames};

// Of the first frames the last are held out: three of sixteen, the same in every list.
constexpr size_t kHeldOutFrames = 3;

std::string Frame(const Frames& frames, bool held_out, Draw& draw) {
  const size_t trained = frames.first.size() - kHeldOutFrames;
  if (held_out) return std::string(frames.first[trained + draw.Below(kHeldOutFrames)]);
  const size_t at = draw.Below(trained + (draw.course().more_frames ? frames.more.size() : 0));
  return std::string(at < trained ? frames.first[at] : frames.more[at - trained]);
}

// The number chooses an eighth without the questions that a newcomer asks first ("What is
// Tessera?", "How do I start it?"): those should be trained on.
bool IsHeldOutTopic(const std::string& topic) { return IsHeldOut("481:" + topic); }

// One of the alternatives of `patterns` on the wanted side of the split; empty if there is none.
std::string Topic(const std::vector<std::string_view>& patterns, bool held_out, Draw& draw) {
  std::vector<std::string> topics = Alternatives(patterns[draw.Below(patterns.size())]);
  std::erase_if(topics, [&](const std::string& t) { return IsHeldOutTopic(t) != held_out; });
  return topics.empty() ? "" : topics[draw.Below(topics.size())];
}

std::string Question(const Fact& fact, FaqKind kind, Draw& draw) {
  const bool new_topic = kind == FaqKind::kNewTopic;
  const bool new_frame = kind == FaqKind::kNewFrame;
  const size_t weight_how = 2 * fact.how.size();
  const size_t weight_what = 2 * fact.what.size();
  const size_t weight_whole = new_frame ? 0 : fact.whole.size();
  if (weight_how + weight_what + weight_whole == 0) return "";
  const size_t at = draw.Below(weight_how + weight_what + weight_whole);
  if (at >= weight_how + weight_what) {
    const std::string topic = Topic(fact.whole, new_topic, draw);
    return topic.empty() ? "" : topic + "?";
  }
  const bool how = at < weight_how;
  const std::string topic = Topic(how ? fact.how : fact.what, new_topic, draw);
  if (topic.empty()) return "";
  const std::string frame = Frame(how ? kHow : kWhat, new_frame, draw);
  return absl::StrReplaceAll(frame, {{"$", topic}});
}

void ExpandFrom(std::string_view pattern, std::string prefix, std::vector<std::string>* out) {
  const size_t open = pattern.find('(');
  if (open == std::string_view::npos) {
    out->push_back(prefix.append(pattern));
    return;
  }
  const size_t close = pattern.find(')', open);
  prefix.append(pattern.substr(0, open));
  std::string_view choices = pattern.substr(open + 1, close - open - 1);
  while (true) {
    const size_t bar = choices.find('|');
    ExpandFrom(pattern.substr(close + 1), prefix + std::string(choices.substr(0, bar)), out);
    if (bar == std::string_view::npos) return;
    choices.remove_prefix(bar + 1);
  }
}

}  // namespace

std::vector<std::string> Alternatives(std::string_view pattern) {
  std::vector<std::string> out;
  ExpandFrom(pattern, "", &out);
  return out;
}

std::string Casual(std::string question, Draw& draw) {
  const size_t manner = draw.Below(10);
  if (manner >= 4 && !question.empty() && (question.back() == '?' || question.back() == '.')) {
    if (manner >= 7) question.pop_back();
    if (manner == 5 || manner >= 8) question[0] = absl::ascii_tolower(question[0]);
  }
  if (manner == 9) question = absl::AsciiStrToLower(question);
  if (draw.Chance(0.08)) {
    question =
        absl::StrCat(draw.Of({"Hello, ", "Hi, ", "Please: ", "ok, ", "hey, ", "And "}), question);
  }
  return question;
}

void AddFaq(FaqKind kind, Draw& draw, Conversation& conversation) {
  while (true) {
    const Fact& fact = Facts()[draw.Below(Facts().size())];
    std::string question = Question(fact, kind, draw);
    if (question.empty()) continue;
    if (absl::ascii_islower(static_cast<unsigned char>(question[0]))) {
      question[0] = absl::ascii_toupper(static_cast<unsigned char>(question[0]));
    }
    conversation.User(Casual(std::move(question), draw));
    conversation.Assistant(std::string(fact.answer));
    return;
  }
}

}  // namespace tessera::trainer
