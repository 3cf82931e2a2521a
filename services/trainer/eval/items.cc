#include "services/trainer/eval/items.h"

#include <array>

#include "common/base/check.h"
#include "services/trainer/corpus/arithmetic.h"
#include "services/trainer/corpus/draw.h"
#include "services/trainer/corpus/faq.h"
#include "services/trainer/corpus/recall.h"
#include "services/trainer/corpus/small_talk.h"
#include "services/trainer/corpus/text_jobs.h"
#include "services/trainer/corpus/tool_use.h"

namespace tessera::trainer {
namespace {

constexpr auto kSkills = std::to_array<EvalSkill>({
    {"faq_frame", "questions on Tessera in frames never seen", Scoring::kText},
    {"faq_topic", "questions on Tessera with topic words never seen", Scoring::kText},
    {"talk", "small talk", Scoring::kText},
    {"refuse", "what it cannot do, with words never seen", Scoring::kText},
    {"add_1", "sums of 1 digit", Scoring::kNumber},
    {"add_2", "sums of 2 digits", Scoring::kNumber},
    {"add_3", "sums of 3 digits", Scoring::kNumber},
    {"sub_1", "differences of 1 digit", Scoring::kNumber},
    {"sub_2", "differences of 2 digits", Scoring::kNumber},
    {"sub_3", "differences of 3 digits", Scoring::kNumber},
    {"tool_named", "the user names one of 1 to 6 tools, all names new", Scoring::kCalls},
    {"tool_need", "the user states a need, 1 to 6 tools, all names new", Scoring::kCalls},
    {"tool_everyday", "needs for everyday tools, 1 to 6 of them", Scoring::kCalls},
    {"tool_pair", "two named tools in one request", Scoring::kCalls},
    {"tool_result", "results of tools reported", Scoring::kText},
    {"recall_windows", "a fact 8 and more sliding windows ago", Scoring::kText},
    {"recall_turns", "one of three facts 3 to 8 turns ago", Scoring::kText},
    {"repeat", "words repeated", Scoring::kText},
    {"reverse", "words reversed", Scoring::kText},
    {"upper", "words in upper case", Scoring::kText},
    {"sort", "words sorted", Scoring::kText},
});

// 8 windows of 128 tokens are 1024 tokens; no text of ours has more than 3.8 bytes a token.
constexpr size_t kFarBytes = 4200;

void AddFiller(Draw& draw, Conversation& conversation) {
  switch (draw.Below(4)) {
    case 0:
      return AddFaq(FaqKind::kTraining, draw, conversation);
    case 1:
      return AddArithmetic(draw, conversation);
    case 2:
      return AddTalk(draw, conversation);
    default:
      return AddReading(draw.Between(20, 60), draw, conversation);
  }
}

void FillRecall(bool far, Draw& draw, Conversation& conversation) {
  std::array<UserFact, 3> facts = {MakeUserFact(0, draw), MakeUserFact(2 + draw.Below(4), draw),
                                   MakeUserFact(6 + draw.Below(4), draw)};
  for (const UserFact& fact : facts) {
    AddStatement(fact, draw, conversation);
    if (far) break;
  }
  if (far) {
    while (RenderText(conversation).size() < kFarBytes) AddFiller(draw, conversation);
    return AddRecall(facts[0], draw, conversation);
  }
  const size_t turns = draw.Between(3, 8);
  for (size_t i = 0; i < turns; ++i) AddFiller(draw, conversation);
  AddRecall(facts[draw.Below(facts.size())], draw, conversation);
}

// A client sends back answers, not what was thought before them.
void DropReasoning(Conversation& conversation) {
  for (size_t i = 0; i + 1 < conversation.messages.size(); ++i) {
    conversation.messages[i].reasoning.clear();
  }
}

void FillTools(std::string_view skill, Draw& draw, Conversation& conversation) {
  const bool pair = skill == "tool_pair";
  const size_t count = draw.Between(pair ? 2 : 1, 6);
  const ToolScene scene(count, skill == "tool_everyday" ? 1 : 0, draw);
  conversation.tools = scene.tools();
  const bool needed = skill == "tool_need" || skill == "tool_everyday";
  scene.AddRequest(needed ? ToolRequest::kNeeded : ToolRequest::kNamed, pair, draw, conversation);
  if (skill == "tool_result") scene.AddResults(draw, conversation);
}

void Fill(std::string_view skill, Draw& draw, Conversation& conversation) {
  if (skill == "faq_frame") return AddFaq(FaqKind::kNewFrame, draw, conversation);
  if (skill == "faq_topic") return AddFaq(FaqKind::kNewTopic, draw, conversation);
  if (skill == "talk") return AddTalk(draw, conversation);
  if (skill == "refuse") return AddRefusal(draw, conversation);
  if (skill.starts_with("add_") || skill.starts_with("sub_")) {
    const size_t digits = static_cast<size_t>(skill.back() - '0');
    return AddSum(skill[0] == 's', digits, digits, draw, conversation);
  }
  if (skill.starts_with("tool_")) return FillTools(skill, draw, conversation);
  if (skill.starts_with("recall_"))
    return FillRecall(skill == "recall_windows", draw, conversation);
  if (skill == "repeat") return AddTextJob(TextJob::kRepeat, draw, conversation);
  if (skill == "reverse") return AddTextJob(TextJob::kReverse, draw, conversation);
  if (skill == "upper") return AddTextJob(TextJob::kUpper, draw, conversation);
  TESSERA_CHECK(skill == "sort");
  AddTextJob(TextJob::kSort, draw, conversation);
}

}  // namespace

std::span<const EvalSkill> EvalSkills() { return kSkills; }

Conversation MakeItem(std::string_view skill, uint64_t seed, uint64_t index) {
  Draw draw(RandomBits(MixBits(seed) ^ 0x5eed, index), Split::kHeldOut);
  Conversation conversation;
  conversation.skill = skill;
  Fill(skill, draw, conversation);
  DropReasoning(conversation);
  return conversation;
}

}  // namespace tessera::trainer
