#include "services/trainer/corpus/corpus.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "services/trainer/corpus/arithmetic.h"
#include "services/trainer/corpus/draw.h"
#include "services/trainer/corpus/faq.h"
#include "services/trainer/corpus/text_jobs.h"

namespace tessera::trainer {
namespace {

constexpr const char* kTokenizer = TESSERA_SOURCE_DIR "/deploy/models/tessera-demo/tokenizer.json";

class CorpusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load(kTokenizer);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(CorpusTest, ADocumentDependsOnSeedAndIndexOnly) {
  const Corpus corpus(*tokenizer_, 7);
  const Corpus other(*tokenizer_, 8);
  for (uint64_t i = 0; i < 20; ++i) {
    const Document first = corpus.Make(i);
    (void)corpus.Make(i + 1);
    EXPECT_EQ(corpus.Make(i).ids, first.ids);
    EXPECT_NE(other.Make(i).ids, first.ids);
  }
}

TEST_F(CorpusTest, DocumentsFitAndHaveLossOnWhatTheAssistantWrites) {
  const Corpus corpus(*tokenizer_, 1);
  std::set<std::string> skills;
  for (uint64_t i = 0; i < 400; ++i) {
    const Document document = corpus.Make(i);
    skills.insert(document.skill);
    ASSERT_LE(document.ids.size(), kDocumentTokensMax);
    ASSERT_EQ(document.ids.size(), document.has_loss.size());
    // Decoded, the tokens with loss are what stands between "assistant\n" and the end of the turn.
    std::string with_loss;
    std::vector<int32_t> learned;
    for (size_t k = 0; k < document.ids.size(); ++k) {
      if (document.has_loss[k] == 1) learned.push_back(document.ids[k]);
    }
    with_loss = tokenizer_->Decode(learned);
    const std::string text = tokenizer_->Decode(document.ids);
    ASSERT_FALSE(with_loss.empty());
    EXPECT_TRUE(with_loss.ends_with("<|im_end|>"));
    EXPECT_EQ(with_loss.find("<|im_start|>"), std::string::npos);
    EXPECT_NE(
        text.find("<|im_start|>assistant\n" + with_loss.substr(0, with_loss.find("<|im_end|>"))),
        std::string::npos);
  }
  EXPECT_EQ(skills.size(), CorpusSkills().size());
}

TEST_F(CorpusTest, PartsAreTheTokensOfTheWhole) {
  for (uint64_t i = 0; i < 200; ++i) {
    const Conversation conversation = MakeConversation(3, i);
    const auto parts = Encode(conversation, *tokenizer_);
    const auto whole = tokenizer_->Encode(RenderText(conversation), {.add_special_tokens = false});
    ASSERT_TRUE(parts.ok() && whole.ok());
    EXPECT_EQ(parts->ids, *whole) << RenderText(conversation);
    EXPECT_EQ(tokenizer_->Decode(*whole), RenderText(conversation));
  }
}

TEST(ArithmeticTest, ColumnsEndWithTheDigitsOfTheResult) {
  EXPECT_EQ(WorkedColumns(7, 96, false),
            "07 + 96\n7 + 6 + 0 = 13: 3 carry 1\n0 + 9 + 1 = 10: 0 carry 1\n103");
  EXPECT_EQ(WorkedColumns(10, 43, true),
            "10 < 43, swap\n43 - 10\n3 - 0 - 0 = 3: 3 borrow 0\n4 - 1 - 0 = 3: 3 borrow 0\n33");
  for (int64_t a = 0; a < 130; a += 7) {
    for (int64_t b = 0; b < 1000; b += 61) {
      EXPECT_TRUE(WorkedColumns(a, b, false).ends_with("\n" + std::to_string(a + b)));
      EXPECT_TRUE(WorkedColumns(a, b, true).ends_with("\n" + std::to_string(std::abs(a - b))));
    }
  }
}

TEST(ArithmeticTest, ComparisonsEndAtTheFirstDigitsThatDiffer) {
  EXPECT_EQ(ComparedColumns(9, 27), "09 - 27\n0 < 2, swap\n" + WorkedColumns(27, 9, true));
  EXPECT_EQ(ComparedColumns(109, 127),
            "109 - 127\n1 = 1\n0 < 2, swap\n" + WorkedColumns(127, 109, true));
  EXPECT_EQ(ComparedColumns(44, 36), "44 - 36\n4 > 3\n" + WorkedColumns(44, 36, true));
  EXPECT_EQ(ComparedColumns(55, 55), "55 - 55\n5 = 5\n5 = 5\n" + WorkedColumns(55, 55, true));
  for (int64_t a = 0; a < 1000; a += 37) {
    for (int64_t b = 0; b < 1000; b += 41) {
      const std::string text = ComparedColumns(a, b);
      EXPECT_EQ(text.find("swap") != std::string::npos, a < b) << text;
      EXPECT_TRUE(text.ends_with("\n" + std::to_string(std::abs(a - b)))) << text;
    }
  }
}

// What a course with comparisons asks for: more differences, all of them compared, with many pairs
// that begin alike; sums stay as they are.
TEST(ArithmeticTest, ACourseMayCompare) {
  Draw draw(5, Split::kTraining, {.subtract = 0.8, .compares = true});
  size_t differences = 0, alike = 0;
  for (int i = 0; i < 1000; ++i) {
    Conversation conversation;
    AddArithmetic(draw, conversation);
    const Message& answer = conversation.messages[1];
    long long a = 0, b = 0;
    char sign = 0;
    ASSERT_EQ(std::sscanf(answer.content.c_str(), "%lld %c %lld", &a, &sign, &b), 3);
    if (sign == '+') {
      EXPECT_EQ(answer.reasoning, WorkedColumns(a, b, false));
      continue;
    }
    EXPECT_EQ(answer.reasoning, ComparedColumns(a, b));
    EXPECT_FALSE(IsHeldOut(std::to_string(a) + "-" + std::to_string(b)));
    ++differences;
    alike += answer.reasoning.find(" = ") < answer.reasoning.find(" > ") &&
             answer.reasoning.find(" = ") < answer.reasoning.find(" < ");
  }
  EXPECT_GT(differences, 750u);
  EXPECT_LT(differences, 850u);
  EXPECT_GT(alike, differences / 6);
}

TEST(ArithmeticTest, AnswersAreRightAndLengthsAreAllThere) {
  Draw draw(5, Split::kTraining);
  std::set<std::pair<size_t, size_t>> lengths;
  for (int i = 0; i < 300; ++i) {
    Conversation conversation;
    AddArithmetic(draw, conversation);
    long long a = 0, b = 0, c = 0;
    char sign = 0;
    const std::string& answer = conversation.messages[1].content;
    ASSERT_EQ(std::sscanf(answer.c_str(), "%lld %c %lld = %lld", &a, &sign, &b, &c), 4) << answer;
    EXPECT_EQ(c, sign == '+' ? a + b : a - b) << answer;
    lengths.emplace(std::to_string(a).size(), std::to_string(b).size());
  }
  EXPECT_EQ(lengths.size(), 9u);
}

TEST(HeldOutTest, WordsTopicsAndPairsOfTheTwoSplitsAreDisjoint) {
  Draw training(1, Split::kTraining), held_out(1, Split::kHeldOut);
  std::set<std::string> words, questions, sums;
  for (int i = 0; i < 3000; ++i) {
    words.insert(training.Word());
    Conversation conversation;
    AddFaq(FaqKind::kTraining, training, conversation);
    AddSum(false, 2, 2, training, conversation);
    questions.insert(conversation.messages[0].content);
    sums.insert(conversation.messages[3].content);
  }
  for (int i = 0; i < 300; ++i) {
    EXPECT_FALSE(words.contains(held_out.Word()));
    Conversation conversation;
    AddFaq(FaqKind::kNewTopic, held_out, conversation);
    AddFaq(FaqKind::kNewFrame, held_out, conversation);
    AddSum(false, 2, 2, held_out, conversation);
    EXPECT_FALSE(questions.contains(conversation.messages[0].content))
        << conversation.messages[0].content;
    EXPECT_FALSE(questions.contains(conversation.messages[2].content))
        << conversation.messages[2].content;
    EXPECT_FALSE(sums.contains(conversation.messages[5].content));
  }
}

// More frames are other frames: neither those of the first course nor those held out.
TEST(HeldOutTest, MoreFramesLeaveTheHeldOutOnesUnseen) {
  const auto first_words = [](const Conversation& conversation) {
    return conversation.messages[0].content.substr(0, 14);
  };
  Draw few(1, Split::kTraining), more(1, Split::kTraining, {.more_frames = true});
  Draw held_out(1, Split::kHeldOut);
  std::set<std::string> of_few, of_more;
  size_t held_out_questions = 0;
  for (int i = 0; i < 4000; ++i) {
    Conversation a, b, c;
    AddFaq(FaqKind::kTraining, few, a);
    AddFaq(FaqKind::kTraining, more, b);
    AddFaq(FaqKind::kNewFrame, held_out, c);
    of_few.insert(first_words(a));
    of_more.insert(first_words(b));
    for (const std::string_view frame : {"Give me a short", "Is there a way", "Help me to"}) {
      EXPECT_FALSE(b.messages[0].content.starts_with(frame)) << b.messages[0].content;
      held_out_questions += c.messages[0].content.starts_with(frame);
    }
  }
  EXPECT_GT(held_out_questions, 500u);
  EXPECT_TRUE(of_more.contains("Give me detail"));
  EXPECT_FALSE(of_few.contains("Give me detail"));
}

TEST_F(CorpusTest, HeldOutDocumentsHaveAllSkills) {
  const Corpus training(*tokenizer_, 1), held_out(*tokenizer_, 1, Split::kHeldOut);
  std::set<std::string> skills;
  for (uint64_t i = 0; i < 300; ++i) {
    const Document document = held_out.Make(i);
    skills.insert(document.skill);
    EXPECT_LE(document.ids.size(), kDocumentTokensMax);
    EXPECT_NE(document.ids, training.Make(i).ids);
  }
  EXPECT_EQ(skills.size(), CorpusSkills().size());
}

TEST_F(CorpusTest, IdentityIsThatOfTheText) {
  EXPECT_EQ(CorpusIdentity(3), CorpusIdentity(3));
  EXPECT_NE(CorpusIdentity(3), CorpusIdentity(4));
  EXPECT_NE(CorpusIdentity(3), CorpusIdentity(3, {.more_frames = true}));
}

// The committed model can only be trained again from the text that it was trained on: what changes
// the default course's text belongs into another course.
TEST_F(CorpusTest, TheDemoModelsTextIsStillMade) {
  EXPECT_EQ(CorpusIdentity(/*seed=*/1), 0x0aa646551bbdfe44u);
}

// A phase has its own course and its own documents; other phases change none of them.
TEST_F(CorpusTest, TheIndexSaysWhichCourseADocumentIsOf) {
  const Course sums = {.shares = {0, 1, 0, 0, 0, 0}};
  const Course talk = {.shares = {0, 0, 0, 0, 1, 0}};
  const Corpus alone(*tokenizer_, 7), both(*tokenizer_, 7, Split::kTraining, {{}, sums, talk});
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(both.Make(i).ids, alone.Make(i).ids);
    EXPECT_EQ(both.Make(FirstDocument(1) + i).skill, "arithmetic");
    EXPECT_EQ(both.Make(FirstDocument(2) + i).skill, "talk");
    EXPECT_NE(alone.Make(FirstDocument(1) + i).ids, alone.Make(i).ids);
  }
}

TEST_F(CorpusTest, SharesAreThoseOfTheCourse) {
  const Course course = {.shares = {0.5, 0, 0, 0.25, 0.25, 0}};
  std::map<std::string, size_t> count;
  for (uint64_t i = 0; i < 1000; ++i) {
    ++count[MakeConversation(3, i, Split::kTraining, course).skill];
  }
  EXPECT_EQ(count.size(), 3u);
  EXPECT_NEAR(static_cast<double>(count["faq"]), 500, 60);
  EXPECT_NEAR(static_cast<double>(count["recall"]), 250, 50);
}

TEST(FaqTest, PatternsGiveAllTheirTexts) {
  EXPECT_EQ(Alternatives("(a|b) x(|y)"), (std::vector<std::string>{"a x", "a xy", "b x", "b xy"}));
  std::set<std::string_view> answers;
  for (const Fact& fact : Facts()) {
    EXPECT_TRUE(answers.insert(fact.answer).second) << fact.answer;
    EXPECT_FALSE(fact.how.empty() && fact.what.empty());
  }
}

TEST(TextJobTest, ResultsFollowFromTheWords) {
  Draw draw(2, Split::kTraining);
  for (int i = 0; i < 100; ++i) {
    Conversation conversation;
    AddTextJob(TextJob::kRepeat, draw, conversation);
    EXPECT_NE(conversation.messages[0].content.find(conversation.messages[1].content),
              std::string::npos);
  }
}

}  // namespace
}  // namespace tessera::trainer
