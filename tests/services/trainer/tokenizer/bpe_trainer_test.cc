#include "services/trainer/tokenizer/bpe_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "common/json/json.h"
#include "common/text/tokenizer.h"
#include "services/trainer/corpus/corpus.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {
namespace {

class BpeTrainerTest : public ::testing::Test {
 protected:
  // Learned once: it is the same for all tests.
  static void SetUpTestSuite() {
    PieceCounts counts;
    for (uint64_t i = 0; i < 300; ++i) counts.Add(RenderText(MakeConversation(1, i)));
    merges_ = TrainBpe(
        counts, &LooksMadeUp,
        {.short_merges = 120, .word_merges = 80, .punctuation_merges = 20, .spaced_words = 60});
    auto document = JsonDocument::Parse(TokenizerJson(merges_));
    ASSERT_TRUE(document.ok()) << document.status();
    auto tokenizer = Tokenizer::FromJson(document->root());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }
  std::vector<std::string> Tokens(const std::string& text) const {
    const auto ids = tokenizer_->Encode(text, {.add_special_tokens = false});
    EXPECT_TRUE(ids.ok()) << ids.status();
    std::vector<std::string> tokens;
    for (const TokenId id : *ids) tokens.push_back(tokenizer_->Decode(std::span(&id, 1)));
    return tokens;
  }
  static void TearDownTestSuite() {
    merges_.clear();
    tokenizer_.reset();
  }
  static std::vector<BpeMerge> merges_;
  static std::unique_ptr<Tokenizer> tokenizer_;
};

std::vector<BpeMerge> BpeTrainerTest::merges_;
std::unique_ptr<Tokenizer> BpeTrainerTest::tokenizer_;

TEST_F(BpeTrainerTest, TheFileCutsAsTheTrainerDoes) {
  for (uint64_t i = 1000; i < 1040; ++i) {
    const std::string text = RenderText(MakeConversation(1, i));
    std::vector<std::string> expected;
    for (const std::string_view piece : CutPieces(text)) {
      const bool control = std::ranges::any_of(
          ControlTokens(), [&](const ControlToken& token) { return token.text == piece; });
      const auto tokens =
          control ? std::vector<std::string>{std::string(piece)} : Segment(piece, merges_);
      expected.insert(expected.end(), tokens.begin(), tokens.end());
    }
    EXPECT_EQ(Tokens(text), expected);
    const auto ids = tokenizer_->Encode(text, {.add_special_tokens = false});
    EXPECT_EQ(tokenizer_->Decode(*ids), text);
  }
}

TEST_F(BpeTrainerTest, AWordIsTheSameTokensWhereverItStands) {
  Draw draw(3, Split::kHeldOut);
  size_t same = 0;
  constexpr size_t kWords = 300;
  for (size_t i = 0; i < kWords; ++i) {
    const std::string word = draw.Word(2, 3);
    const std::vector<std::string> plain = Tokens(word);
    bool is_same = true;
    for (const char* before : {" ", "\"", "_", "=", "\n"}) {
      std::vector<std::string> expected = {before};
      expected.insert(expected.end(), plain.begin(), plain.end());
      is_same &= Tokens(before + word) == expected;
    }
    same += is_same ? 1 : 0;
  }
  EXPECT_GE(same, kWords * 97 / 100);
}

TEST_F(BpeTrainerTest, DigitsAndCapitalsStandAlone) {
  EXPECT_EQ(Tokens("12345"), (std::vector<std::string>{"1", "2", "3", "4", "5"}));
  EXPECT_EQ(Tokens("HELLO").size(), 5u);
  for (const BpeMerge& merge : merges_) {
    EXPECT_EQ((merge.left + merge.right).find_first_of("0123456789"), std::string::npos);
  }
}

TEST_F(BpeTrainerTest, ControlTokensComeFirst) {
  EXPECT_EQ(tokenizer_->IdOf("<|im_start|>"), 2);
  EXPECT_EQ(tokenizer_->IdOf("<|im_end|>"), 3);
  EXPECT_TRUE(tokenizer_->is_special(3));
  EXPECT_FALSE(tokenizer_->is_special(tokenizer_->IdOf("<tool_call>")));
  EXPECT_EQ(tokenizer_->vocab_size(), 17 + 256 + merges_.size());
}

TEST(CutPiecesTest, CutsAsTrinityDoes) {
  const auto cut = [](std::string_view text) {
    std::vector<std::string> pieces;
    for (const auto piece : CutPieces(text)) pieces.emplace_back(piece);
    return pieces;
  };
  EXPECT_EQ(cut("{\"a\": [\"b_c\"]} 1234."),
            (std::vector<std::string>{"{\"", "a", "\":", " [\"", "b", "_c", "\"]}", " ", "1", "234",
                                      "."}));
  EXPECT_EQ(
      cut("<think>\nHi.\n</think>\n\nA  b"),
      (std::vector<std::string>{"<think>", "\n", "Hi", ".\n", "</think>", "\n\n", "A", " ", " b"}));
}

}  // namespace
}  // namespace tessera::trainer
