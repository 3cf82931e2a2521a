#include "common/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/random.h"
#include "common/base/utf8.h"
#include "common/text/incremental_detokenizer.h"
#include "tests/common/text/fixture.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Ids = std::vector<TokenId>;

constexpr EncodeOptions kPlain = {.add_special_tokens = false};

std::unique_ptr<Tokenizer> Make(const testing::TokenizerFixture& fixture) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = fixture.Load();
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

std::string ErrorOf(const testing::TokenizerFixture& fixture) {
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = fixture.Load();
  if (tokenizer.ok()) return "no error";
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(tokenizer.status().message());
}

// Random characters of many scripts, well-formed.
std::string RandomText(Random& random, size_t length) {
  constexpr char32_t kStarts[] = {0,     0x20,   0x30,   0x61,    0x300,
                                  0x600, 0x4E00, 0xAC00, 0x1F600, 0x10FF00};
  std::string text;
  for (size_t i = 0; i < length; ++i) {
    AppendUtf8(kStarts[random.Below(std::size(kStarts))] + static_cast<char32_t>(random.Below(32)),
               &text);
  }
  return text;
}

TEST(TokenizerTest, MergesLowestRankFirst) {
  const auto tokenizer = Make(testing::ByteLevelFixture());
  EXPECT_THAT(*tokenizer->Encode("hello world", kPlain), ElementsAre(259, 264));
  EXPECT_THAT(*tokenizer->Encode("hell", kPlain), ElementsAre(258));
  EXPECT_THAT(*tokenizer->Encode("helo", kPlain), ElementsAre(256, 'l', 'o'));
  EXPECT_THAT(*tokenizer->Encode("", kPlain), IsEmpty());
}

TEST(TokenizerTest, LongAndShortWordsMergeAlike) {
  // The same word by the scan over few symbols and by the heap over many.
  const auto tokenizer = Make(testing::ByteLevelFixture());
  const Ids one = *tokenizer->Encode("ahelloorhe", kPlain);
  std::string many;
  Ids wanted;
  for (int i = 0; i < 500; ++i) {
    many += "ahelloorhe";
    wanted.insert(wanted.end(), one.begin(), one.end());
  }
  EXPECT_EQ(*tokenizer->Encode(many, kPlain), wanted);
}

TEST(TokenizerTest, SpecialTokensAroundAndInside) {
  const auto tokenizer = Make(testing::ByteLevelFixture());
  EXPECT_THAT(*tokenizer->Encode("hello"), ElementsAre(265, 259));
  EXPECT_THAT(*tokenizer->Encode(""), ElementsAre(265));
  EXPECT_THAT(*tokenizer->Encode("<tool>hello<|bos|>", kPlain), ElementsAre(266, 259, 265));
  const Ids ids = {265, 266, 259};
  EXPECT_EQ(tokenizer->Decode(ids), "<|bos|><tool>hello");
  EXPECT_EQ(tokenizer->Decode(ids, {.skip_special_tokens = true}), "<tool>hello");
  EXPECT_TRUE(tokenizer->is_special(265));
  EXPECT_FALSE(tokenizer->is_special(266));
  EXPECT_FALSE(tokenizer->is_special(5));
}

TEST(TokenizerTest, PiecesAndIds) {
  const auto tokenizer = Make(testing::ByteLevelFixture());
  EXPECT_EQ(tokenizer->id_end(), 267);
  EXPECT_EQ(tokenizer->vocab_size(), 267u);
  EXPECT_EQ(tokenizer->PieceOf(264), "\u0120world");
  EXPECT_EQ(tokenizer->PieceOf(265), "<|bos|>");
  EXPECT_EQ(tokenizer->PieceOf(267), "");
  EXPECT_EQ(tokenizer->PieceOf(-1), "");
  EXPECT_EQ(tokenizer->IdOf("\u0120world"), 264);
  EXPECT_EQ(tokenizer->IdOf("<tool>"), 266);
  EXPECT_EQ(tokenizer->IdOf("nothing"), -1);
  EXPECT_EQ(tokenizer->Decode(Ids{'a', 100000, -1, 'b'}), "ab");
}

TEST(TokenizerTest, DecodeOfEncodeIsTheText) {
  const auto tokenizer = Make(testing::ByteLevelFixture());
  Random random(20);
  for (int i = 0; i < 500; ++i) {
    const std::string text = RandomText(random, random.Below(200));
    EXPECT_EQ(tokenizer->Decode(*tokenizer->Encode(text, kPlain)), text) << "text " << i;
  }
}

TEST(TokenizerTest, IncrementalIsWhole) {
  for (const testing::TokenizerFixture& fixture :
       {testing::ByteLevelFixture(), testing::FallbackFixture()}) {
    const auto tokenizer = Make(fixture);
    Random random(21);
    for (int i = 0; i < 500; ++i) {
      Ids ids;
      for (size_t n = random.Below(40); n > 0; --n) {
        ids.push_back(
            static_cast<TokenId>(random.Below(static_cast<size_t>(tokenizer->id_end()) + 3)));
      }
      const DecodeOptions options = {.skip_special_tokens = i % 2 == 0};
      IncrementalDetokenizer detokenizer(*tokenizer, options);
      std::string text;
      for (const TokenId id : ids) {
        const std::string part = detokenizer.Push(id);
        EXPECT_EQ(FindInvalidUtf8(part), std::string::npos);
        text += part;
      }
      EXPECT_EQ(text + detokenizer.Flush(), tokenizer->Decode(ids, options));
    }
  }
}

TEST(TokenizerTest, NeverHalfACharacter) {
  const auto tokenizer = Make(testing::ByteLevelFixture());
  IncrementalDetokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.Push(0xF0), "");
  EXPECT_EQ(detokenizer.Push(0x9F), "");
  EXPECT_EQ(detokenizer.Push(0x98), "");
  EXPECT_EQ(detokenizer.Push(0x80), "\U0001F600");
  EXPECT_EQ(detokenizer.Push(0xE2), "");
  EXPECT_EQ(detokenizer.Push('a'), "\uFFFDa");  // the character will not be completed
  EXPECT_EQ(detokenizer.Push(0xC3), "");
  EXPECT_EQ(detokenizer.Flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.Push('b'), "b");  // a new text
}

TEST(TokenizerTest, ByteFallbackAndUnknowns) {
  testing::TokenizerFixture fixture = testing::FallbackFixture();
  const auto tokenizer = Make(fixture);
  EXPECT_THAT(*tokenizer->Encode("ab ab", kPlain), ElementsAre(264, 264));
  EXPECT_THAT(*tokenizer->Encode("\u00e9", kPlain), ElementsAre(258, 2 + 0xC3, 2 + 0xA9));
  EXPECT_EQ(tokenizer->Decode(*tokenizer->Encode("ab \u00e9 c", kPlain)), "ab \u00e9 c");
  // A broken run of bytes is one replacement a byte, known only when the run ends.
  IncrementalDetokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.Push(259), "a");
  EXPECT_EQ(detokenizer.Push(2 + 0xC3), "");
  EXPECT_EQ(detokenizer.Push(2 + 0x41), "");
  EXPECT_EQ(detokenizer.Push(260), "\uFFFD\uFFFDb");

  fixture.model_options = R"(,"unk_token":"<unk>","fuse_unk":true)";
  EXPECT_THAT(*Make(fixture)->Encode("xyza", kPlain), ElementsAre(258, 0, 259));
  fixture.model_options = R"(,"unk_token":"<unk>","fuse_unk":false)";
  EXPECT_THAT(*Make(fixture)->Encode("xyza", kPlain), ElementsAre(258, 0, 0, 0, 259));
  fixture.model_options = "";
  EXPECT_THAT(*Make(fixture)->Encode("xyza", kPlain), ElementsAre(262));
}

TEST(TokenizerTest, IgnoreMergesTakesWholePieces) {
  testing::TokenizerFixture fixture = testing::ByteLevelFixture();
  fixture.vocab.push_back("zzz");  // no merge makes it
  fixture.added_tokens = "[]";
  fixture.post_processor = "null";
  EXPECT_THAT(*Make(fixture)->Encode("zzz"), ElementsAre('z', 'z', 'z'));
  fixture.model_options = R"(,"ignore_merges":true)";
  EXPECT_THAT(*Make(fixture)->Encode("zzz"), ElementsAre(265));
  EXPECT_THAT(*Make(fixture)->Encode("zzzz"), ElementsAre('z', 'z', 'z', 'z'));
}

TEST(TokenizerTest, MergesAsPairs) {
  const testing::TokenizerFixture lines = testing::ByteLevelFixture();
  std::string json = lines.Json();
  const size_t at = json.find("\"h e\"");
  json.replace(at, 5, "[\"h\",\"e\"]");
  const auto document = JsonDocument::Parse(json);
  const auto tokenizer = Tokenizer::FromJson(document->root());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("hello", kPlain), ElementsAre(259));
}

TEST(TokenizerTest, AddedTokenRules) {
  testing::TokenizerFixture fixture = testing::ByteLevelFixture();
  fixture.added_tokens = R"([{"id":265,"content":"<|bos|>","special":true},
    {"id":266,"content":"<l>","lstrip":true},{"id":267,"content":"<r>","rstrip":true},
    {"id":268,"content":"one","single_word":true},{"id":269,"content":"<|bos|>x"}])";
  const auto tokenizer = Make(fixture);
  EXPECT_THAT(*tokenizer->Encode("a \t<l> b", kPlain), ElementsAre('a', 266, ' ', 'b'));
  EXPECT_THAT(*tokenizer->Encode("a <r>\n\u3000b", kPlain), ElementsAre('a', ' ', 267, 'b'));
  EXPECT_THAT(*tokenizer->Encode("<r> <l>", kPlain), ElementsAre(267, 266));
  EXPECT_THAT(*tokenizer->Encode("one,one", kPlain), ElementsAre(268, ',', 268));
  EXPECT_THAT(*tokenizer->Encode("ones", kPlain), ElementsAre('o', 'n', 'e', 's'));
  EXPECT_THAT(*tokenizer->Encode("\u00e9one", kPlain), ElementsAre(0xC3, 0xA9, 'o', 'n', 'e'));
  EXPECT_THAT(*tokenizer->Encode("<|bos|>x<|bos|>", kPlain), ElementsAre(269, 265));  // the longest
}

TEST(TokenizerTest, NormalizedAddedTokens) {
  testing::TokenizerFixture fixture = testing::ByteLevelFixture();
  fixture.normalizer = R"({"type":"Lowercase"})";
  fixture.post_processor = "null";
  fixture.added_tokens =
      R"([{"id":265,"content":"<RAW>"},{"id":266,"content":"<Norm>","normalized":true}])";
  const auto tokenizer = Make(fixture);
  EXPECT_THAT(*tokenizer->Encode("<RAW><NORM><norm>HELLO", kPlain),
              ElementsAre(265, 266, 266, 259));
  EXPECT_THAT(*tokenizer->Encode("<raw>", kPlain), ElementsAre('<', 'r', 'a', 'w', '>'));
}

TEST(TokenizerTest, BadTextIsRefused) {
  const auto tokenizer = Make(testing::ByteLevelFixture());
  const auto broken = tokenizer->Encode("ab\xC3(");
  EXPECT_EQ(broken.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(broken.status().message()), HasSubstr("byte 2"));
  EXPECT_FALSE(tokenizer->Encode("\xED\xA0\x80").ok());      // a surrogate
  EXPECT_FALSE(tokenizer->Encode("\xF4\x90\x80\x80").ok());  // above U+10FFFF
  EXPECT_FALSE(tokenizer->Encode("\xC0\x80").ok());          // not the shortest form
}

TEST(TokenizerTest, TwoMegabytesOfAnything) {
  const auto tokenizer = Make(testing::ByteLevelFixture());
  const auto fallback = Make(testing::FallbackFixture());
  for (const char* unit : {"a", " ", "\n", "1", "!", "hello", " \n", "\u00e9", "\u0301", "a "}) {
    std::string text;
    while (text.size() < 2000000) text += unit;
    const auto ids = tokenizer->Encode(text, kPlain);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(tokenizer->Decode(*ids), text) << unit;
    EXPECT_TRUE(fallback->Encode(text, kPlain).ok());
  }
}

TEST(TokenizerTest, WhatIsNotSupportedIsNamed) {
  const testing::TokenizerFixture good = testing::ByteLevelFixture();
  const auto with = [&good](std::string testing::TokenizerFixture::*member, std::string value) {
    testing::TokenizerFixture fixture = good;
    fixture.*member = std::move(value);
    return ErrorOf(fixture);
  };
  using Fixture = testing::TokenizerFixture;
  EXPECT_THAT(with(&Fixture::model_options, R"(,"dropout":0.1)"), HasSubstr("model.dropout"));
  EXPECT_THAT(with(&Fixture::model_options, R"(,"end_of_word_suffix":"</w>")"),
              HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(with(&Fixture::model_options, R"(,"unk_token":"?unk?")"),
              HasSubstr("model.unk_token"));
  EXPECT_THAT(with(&Fixture::normalizer, R"({"type":"Nmt"})"), HasSubstr("normalizer.type"));
  EXPECT_THAT(with(&Fixture::pre_tokenizer, R"({"type":"BertPreTokenizer"})"),
              HasSubstr("pre_tokenizer.type"));
  EXPECT_THAT(with(&Fixture::decoder, R"({"type":"CTC"})"), HasSubstr("decoder.type"));
  EXPECT_THAT(with(&Fixture::post_processor, R"({"type":"X"})"), HasSubstr("post_processor.type"));
  EXPECT_THAT(with(&Fixture::added_tokens, R"([{"id":3,"content":"<|bos|>"}])"),
              HasSubstr("added_tokens[0]"));
  EXPECT_THAT(with(&Fixture::added_tokens, R"([{"id":900,"content":"a"}])"), HasSubstr("id 97"));
  EXPECT_THAT(with(&Fixture::pre_tokenizer,
                   R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
              HasSubstr("pre_tokenizer.pattern.Regex"));
  testing::TokenizerFixture bad_merge = good;
  bad_merge.merges.push_back("q q");
  EXPECT_THAT(ErrorOf(bad_merge), HasSubstr("model.merges[9]"));
  EXPECT_EQ(Tokenizer::Load("/nonexistent/tokenizer.json").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tessera
