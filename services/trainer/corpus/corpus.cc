#include "services/trainer/corpus/corpus.h"

#include <algorithm>
#include <array>

#include "common/base/check.h"
#include "common/base/status.h"
#include "services/trainer/corpus/arithmetic.h"
#include "services/trainer/corpus/draw.h"
#include "services/trainer/corpus/faq.h"
#include "services/trainer/corpus/recall.h"
#include "services/trainer/corpus/small_talk.h"
#include "services/trainer/corpus/text_jobs.h"
#include "services/trainer/corpus/tool_use.h"

namespace tessera::trainer {
namespace {

constexpr auto kSystemLines = std::to_array<std::string_view>(
    {"You are a helpful assistant.", "You are Tessera.", "Answer briefly.",
     "You are a friendly assistant.", "Be polite.", "You are a helpful AI assistant.",
     "Be concise.", "You are an assistant.", "Help the user.",
     "You are the demo model of Tessera."});

// A question of the draw's split.
void AddQuestion(Draw& draw, Conversation& conversation) {
  if (draw.split() == Split::kTraining) return AddFaq(FaqKind::kTraining, draw, conversation);
  AddFaq(draw.Chance(0.5) ? FaqKind::kNewFrame : FaqKind::kNewTopic, draw, conversation);
}

void AddTextTurn(Draw& draw, Conversation& conversation) {
  // Upper case and sorting take longest to learn.
  constexpr std::array<TextJob, 6> jobs = {TextJob::kRepeat, TextJob::kReverse, TextJob::kUpper,
                                           TextJob::kUpper,  TextJob::kSort,    TextJob::kSort};
  AddTextJob(jobs[draw.Below(jobs.size())], draw, conversation);
}

// A turn of any skill that needs no tools.
void AddAnyTurn(Draw& draw, Conversation& conversation) {
  switch (draw.Below(5)) {
    case 0:
      return AddQuestion(draw, conversation);
    case 1:
      return AddArithmetic(draw, conversation);
    case 2:
      return AddTalk(draw, conversation);
    case 3:
      return AddRefusal(draw, conversation);
    default:
      return AddTextTurn(draw, conversation);
  }
}

void AddTurns(size_t count, double strange, Draw& draw, Conversation& conversation,
              void (*add)(Draw&, Conversation&)) {
  for (size_t i = 0; i < count; ++i) {
    draw.Chance(strange) ? AddAnyTurn(draw, conversation) : add(draw, conversation);
  }
}

void FillTools(Draw& draw, Conversation& conversation) {
  const size_t count = draw.Between(1, 6);
  const ToolScene scene(count, draw.Chance(0.33) ? 0.8 : 0.25, draw);
  conversation.tools = scene.tools();
  const size_t turns = count >= 5 ? draw.Between(1, 2) : draw.Between(1, 3);
  for (size_t i = 0; i < turns; ++i) {
    if (draw.Chance(0.12)) {
      AddAnyTurn(draw, conversation);
      continue;
    }
    if (draw.Chance(0.05)) {
      scene.AddMisfit(draw, conversation);
      continue;
    }
    scene.AddRequest(draw.Chance(0.5) ? ToolRequest::kNamed : ToolRequest::kNeeded,
                     draw.Chance(0.12), draw, conversation);
    if (i + 1 < turns || draw.Chance(0.6)) scene.AddResults(draw, conversation);
  }
}

void FillRecall(Draw& draw, Conversation& conversation) {
  std::vector<size_t> kinds = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  if (draw.Chance(0.5)) kinds[1] = 6;  // a name only once
  kinds[draw.Below(2)] = 7;
  draw.Shuffle(kinds);
  std::vector<UserFact> facts;
  const size_t count = draw.Between(1, 3);
  for (size_t i = 0; i < count; ++i) {
    UserFact fact = MakeUserFact(kinds[i], draw);
    bool is_new = true;
    for (const UserFact& other : facts) is_new &= other.questions[0] != fact.questions[0];
    if (!is_new) continue;
    AddStatement(fact, draw, conversation);
    facts.push_back(std::move(fact));
    if (draw.Chance(0.2)) AddAnyTurn(draw, conversation);
  }
  const size_t fillers = draw.Chance(0.3) ? 0 : draw.Between(1, 8);
  for (size_t i = 0; i < fillers; ++i) {
    draw.Chance(0.35) ? AddReading(draw.Between(15, 60), draw, conversation)
                      : AddAnyTurn(draw, conversation);
  }
  draw.Shuffle(facts);
  for (const UserFact& fact : facts) AddRecall(fact, draw, conversation);
}

// The first question of a conversation is about something never told.
void FillUnknown(Draw& draw, Conversation& conversation) {
  AddTurns(draw.Between(0, 2), 1, draw, conversation, &AddTalk);
  const UserFact fact = MakeUserFact(draw.Below(kFactKindCount), draw);
  AddUnknown(fact, draw, conversation);
  if (draw.Chance(0.6)) {
    AddStatement(fact, draw, conversation);
    AddRecall(fact, draw, conversation);
  }
}

void AddTalkOrRefusal(Draw& draw, Conversation& conversation) {
  draw.Chance(0.5) ? AddTalk(draw, conversation) : AddRefusal(draw, conversation);
}

// Clients often send back what was answered but not the reasoning. Such a turn is no example of an
// answer: its reasoning was there when it was written.
void ForgetReasoning(Draw& draw, Conversation& conversation) {
  size_t kept = conversation.messages.size();  // the last message that has reasoning
  if (!draw.Chance(0.4)) return;
  while (kept > 0 && conversation.messages[kept - 1].reasoning.empty()) --kept;
  const bool also_last = kept > 0 && kept < conversation.messages.size() && draw.Chance(0.5);
  for (size_t i = 0; i < (also_last ? kept : kept > 0 ? kept - 1 : 0); ++i) {
    Message& message = conversation.messages[i];
    if (message.reasoning.empty()) continue;
    message.reasoning.clear();
    message.has_loss = false;
  }
}

void Fill(std::string_view skill, Draw& draw, Conversation& conversation) {
  if (skill == "faq") {
    return AddTurns(draw.Between(2, 5), 0.15, draw, conversation, &AddQuestion);
  }
  if (skill == "arithmetic") {
    return AddTurns(draw.Between(1, 3), 0.1, draw, conversation, &AddArithmetic);
  }
  if (skill == "tools") return FillTools(draw, conversation);
  if (skill == "recall") {
    return draw.Chance(0.12) ? FillUnknown(draw, conversation) : FillRecall(draw, conversation);
  }
  if (skill == "talk") {
    return AddTurns(draw.Between(2, 5), 0.1, draw, conversation, &AddTalkOrRefusal);
  }
  TESSERA_CHECK(skill == "text");
  AddTurns(draw.Between(3, 8), 0.08, draw, conversation, &AddTextTurn);
}

Conversation Make(std::string_view skill, Draw& draw) {
  Conversation conversation;
  conversation.skill = skill;
  if (draw.Chance(0.25)) {
    conversation.messages.push_back({.role = Role::kSystem, .content = draw.Of(kSystemLines)});
  }
  Fill(skill, draw, conversation);
  ForgetReasoning(draw, conversation);
  return conversation;
}

uint64_t SeedOf(uint64_t seed, uint64_t index) { return RandomBits(MixBits(seed), index); }

}  // namespace

std::span<const std::string_view> CorpusSkills() { return kCorpusSkills; }

Conversation MakeConversation(uint64_t seed, uint64_t index, Split split, const Course& course) {
  // Small talk has one side only: at least it comes in another order.
  Draw draw(SeedOf(split == Split::kTraining ? seed : ~seed, index), split, course);
  double share = static_cast<double>(draw.Below(1u << 20)) / (1u << 20);
  size_t skill = 0;
  while (skill + 1 < kCorpusSkills.size() && share >= course.shares[skill]) {
    share -= course.shares[skill++];
  }
  return Make(kCorpusSkills[skill], draw);
}

Conversation MakeConversationOf(std::string_view skill, uint64_t seed, uint64_t index,
                                const Course& course) {
  Draw draw(SeedOf(seed, index), Split::kTraining, course);
  return Make(skill, draw);
}

absl::StatusOr<Document> Encode(const Conversation& conversation, const Tokenizer& tokenizer) {
  Document document;
  document.skill = conversation.skill;
  for (const TextPart& part : Render(conversation)) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                             tokenizer.Encode(part.text, {.add_special_tokens = false}));
    document.ids.insert(document.ids.end(), ids.begin(), ids.end());
    document.has_loss.resize(document.ids.size(), part.has_loss ? 1 : 0);
  }
  return document;
}

uint64_t CorpusIdentity(uint64_t seed, const Course& course) {
  constexpr uint64_t kConversations = 500;
  uint64_t identity = 0;
  for (uint64_t i = 0; i < kConversations; ++i) {
    identity =
        MixBits(identity ^
                HashText(RenderText(MakeConversation(MixBits(seed), i, Split::kTraining, course))));
  }
  return identity;
}

Document Corpus::Make(uint64_t index) const {
  const Course& course = courses_[std::min(PhaseOfDocument(index), courses_.size() - 1)];
  // The few that are too long are drawn again.
  for (uint64_t attempt = 0;; ++attempt) {
    absl::StatusOr<Document> document =
        Encode(MakeConversation(MixBits(seed_) + attempt, index, split_, course), tokenizer_);
    TESSERA_CHECK(document.ok());  // our own text is UTF-8
    if (document->ids.size() <= kDocumentTokensMax) return *std::move(document);
  }
}

}  // namespace tessera::trainer
