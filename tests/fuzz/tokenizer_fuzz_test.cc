// Broken tokenizer files and hostile texts: refused, or read into a tokenizer that encodes and
// decodes without a crash and within bounds.

#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/random.h"
#include "common/base/utf8.h"
#include "common/text/incremental_detokenizer.h"
#include "common/text/tokenizer.h"
#include "tests/common/text/fixture.h"
#include "tests/support/mutator.h"

namespace tessera {
namespace {

// Every kind of part that a file may have, in two small files.
std::vector<std::string> Corpus() {
  testing::TokenizerFixture kitchen_sink = testing::FallbackFixture();
  kitchen_sink.normalizer =
      R"({"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Lowercase"},{"type":"Strip","strip_left":true,"strip_right":false},{"type":"Replace","pattern":{"Regex":"\\s{2,}"},"content":" "},{"type":"StripAccents"},{"type":"Prepend","prepend":"_"}]})";
  kitchen_sink.pre_tokenizer =
      R"({"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},{"type":"Digits","individual_digits":true},{"type":"Metaspace","replacement":"_","prepend_scheme":"first","split":true},{"type":"Split","pattern":{"String":"ab"},"behavior":"MergedWithNext","invert":true},{"type":"ByteLevel","add_prefix_space":true,"use_regex":true},{"type":"WhitespaceSplit"}]})";
  kitchen_sink.added_tokens =
      R"([{"id":1,"content":"<s>","special":true,"lstrip":true},{"id":300,"content":"<x>","rstrip":true,"single_word":true},{"id":301,"content":"Up","normalized":true}])";
  return {testing::ByteLevelFixture().Json(), testing::FallbackFixture().Json(),
          kitchen_sink.Json()};
}

std::vector<std::string> Dictionary() {
  return {"null",
          "true",
          "false",
          "\"",
          "[",
          "]",
          "{",
          "}",
          ":",
          ",",
          "-1",
          "16777216",
          "1e99",
          "\\u0000",
          "\"ignore_merges\":true,",
          "\"byte_fallback\":true,",
          "\"dropout\":0.5,",
          "\"type\":\"Sequence\"",
          "\"type\":\"ByteLevel\"",
          "\"type\":\"Metaspace\"",
          "\"type\":\"Split\"",
          "\"type\":\"NFC\"",
          "\"Regex\":\"(a+)+$\"",
          "\"Regex\":\"[^\\\\p{L}&&[a-z]]\"",
          "\"Regex\":\"(?i:x|)*\"",
          "\"Regex\":\"\\\\p{Nd}{3}+|\\\\G\"",
          "\"String\":\"\"",
          "\"behavior\":\"Contiguous\"",
          "\"invert\":true",
          "\"content\":\"\"",
          "\"normalized\":true",
          "\"lstrip\":true",
          "<s>",
          "(?",
          "\\\\p{"};
}

std::vector<std::string> Texts() {
  std::string bytes;
  Random random(5);
  for (int i = 0; i < 300; ++i) {
    const auto c = static_cast<char32_t>(random.Below(kCodePointEnd));
    AppendUtf8(c >= 0xD800 && c < 0xE000 ? U'a' : c, &bytes);
  }
  return {"",
          "hello world 12 <s> <x> UP _ab",
          std::string(500, ' '),
          "a\u0301\u0323\r\n\u3000\U0001F600",
          bytes,
          std::string(3000, 'a'),
          "broken \xF0\x9F bytes"};
}

void UseTokenizer(const Tokenizer& tokenizer) {
  for (const std::string& text : Texts()) {
    const auto ids = tokenizer.Encode(text);
    if (!ids.ok()) {
      EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument) << ids.status();
      continue;
    }
    for (const TokenId id : *ids) EXPECT_GE(id, 0);
    IncrementalDetokenizer detokenizer(tokenizer);
    std::string whole;
    for (const TokenId id : *ids) whole += detokenizer.Push(id);
    EXPECT_EQ(whole + detokenizer.Flush(), tokenizer.Decode(*ids));
  }
}

TEST(TokenizerFuzzTest, BrokenFiles) {
  constexpr uint64_t kSeed = 20;
  const testing::Mutator mutator(kSeed, Corpus(), Dictionary());
  uint64_t good = 0;
  const uint64_t rounds = testing::FuzzRounds(3000);
  for (uint64_t n = 0; n < rounds; ++n) {
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", input " + std::to_string(n));
    const auto document = JsonDocument::Parse(mutator.At(n));
    if (!document.ok()) continue;
    const auto tokenizer = Tokenizer::FromJson(document->root());
    if (!tokenizer.ok()) {
      ASSERT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument)
          << tokenizer.status();
      continue;
    }
    ++good;
    UseTokenizer(**tokenizer);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(good, rounds / 100);  // enough of them get as far as text
}

TEST(TokenizerFuzzTest, BrokenTexts) {
  constexpr uint64_t kSeed = 21;
  const testing::Mutator mutator(kSeed, Texts(),
                                 {"\xC3", "\xED\xA0\x80", "<s>", "<|bos|>", "\u0301", "\n"});
  for (const bool is_byte_level : {true, false}) {
    const auto tokenizer =
        is_byte_level ? testing::ByteLevelFixture().Load() : testing::FallbackFixture().Load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const uint64_t rounds = testing::FuzzRounds(3000);
    for (uint64_t n = 0; n < rounds; ++n) {
      const std::string text = mutator.At(n);
      const auto ids = (*tokenizer)->Encode(text, {.add_special_tokens = false});
      const bool is_utf8 = FindInvalidUtf8(text) == std::string_view::npos;
      ASSERT_EQ(ids.ok(), is_utf8) << "seed " << kSeed << ", input " << n;
      if (ids.ok() && is_byte_level) {  // the other one puts a space behind "<s>"
        ASSERT_EQ((*tokenizer)->Decode(*ids), text) << "seed " << kSeed << ", input " << n;
      }
    }
  }
}

}  // namespace
}  // namespace tessera
