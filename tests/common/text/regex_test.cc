#include "common/text/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  if (!regex.ok()) return {"error"};
  RegexScratch scratch;
  std::vector<TextSpan> spans;
  const absl::Status status = (*regex)->FindAll(text, scratch, &spans);
  EXPECT_TRUE(status.ok()) << status;
  std::vector<std::string> found;
  for (const TextSpan span : spans) found.emplace_back(Slice(text, span));
  return found;
}

std::string ErrorOf(std::string_view pattern) {
  const auto regex = Regex::Compile(pattern);
  return regex.ok() ? "no error" : std::string(regex.status().message());
}

TEST(RegexTest, IntervalsRepeatInsteadOfBeingPossessive) {
  EXPECT_THAT(Matches("a{3}+", "aaaaaaaa"), ElementsAre("aaaaaa"));
  EXPECT_THAT(Matches("^a{2}+a$", "aaaaa"), ElementsAre("aaaaa"));
  EXPECT_THAT(Matches("a{2}?", "aaa"), ElementsAre("aa", ""));  // optional, not lazy
  EXPECT_THAT(Matches("a{1,2}?", "aaa"), ElementsAre("a", "a", "a"));
  EXPECT_THAT(Matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(Matches("a{x}", "a{x}"), ElementsAre("a{x}"));
  EXPECT_THAT(Matches("a++a", "aaa"), IsEmpty());
}

TEST(RegexTest, AnchorsSeeTheTextAlone) {
  EXPECT_THAT(Matches("\\A\\p{Nd}{1,2}(?=\\p{Nd}{3}+\\z)", "12345"), ElementsAre("12"));
  EXPECT_THAT(Matches("\\A\\p{Nd}{1,2}(?=\\p{Nd}{3}+\\z)", "123456"), IsEmpty());
  EXPECT_THAT(Matches("\\A\\p{Nd}{3}|\\G\\p{Nd}{3}", "12345678"), ElementsAre("123", "456"));
  EXPECT_THAT(Matches("^.", "ab\ncd\n"), ElementsAre("a", "c"));
  EXPECT_THAT(Matches(".$", "ab\ncd"), ElementsAre("b", "d"));
}

TEST(RegexTest, SpaceIsWhiteSpace) {
  EXPECT_THAT(Matches("\\s+", "a\u180eb\u200bc\u0085\u00a0\u3000d"),
              ElementsAre("\u0085\u00a0\u3000"));
  EXPECT_THAT(Matches("\\s+(?!\\S)|\\s+", "a  b "), ElementsAre(" ", " ", " "));
}

TEST(RegexTest, PropertiesAreTheReferences) {
  // Letters of Unicode 15 and 16, newer than what PCRE2 knows: Kawi, Todhri, a CJK extension.
  EXPECT_THAT(Matches("\\p{L}+", "\U00011F04\U000105C0\U000323AF"),
              ElementsAre("\U00011F04\U000105C0\U000323AF"));
  EXPECT_THAT(Matches("[^\\p{L}]+", "\U00011F04!"), ElementsAre("!"));
  EXPECT_THAT(Matches("\\P{L}+", "\U00011F04!"), ElementsAre("!"));
  EXPECT_THAT(Matches("\\p{^L}+", "a!"), ElementsAre("!"));
  EXPECT_THAT(Matches("[\\P{L}x]+", "\U00011F04!x"), ElementsAre("!x"));
  EXPECT_THAT(Matches("\\p{Mn}", "\U0001171E\u0301"), ElementsAre("\u0301"));  // it became Mc
  EXPECT_THAT(Matches("\\p{Mc}", "\U0001171E\u0301"), ElementsAre("\U0001171E"));
  EXPECT_THAT(Matches("\\p{Letter_Number}", "\u2160"), ElementsAre("\u2160"));
  EXPECT_THAT(Matches("\\p{Han}+", "a日本b"), ElementsAre("日本"));
}

TEST(RegexTest, ClassesNestAndIntersect) {
  EXPECT_THAT(Matches("[a-c[x-z]]+", "abxyq"), ElementsAre("abxy"));
  EXPECT_THAT(Matches("[a-z&&[^aeiou]]+", "hello"), ElementsAre("h", "ll"));
  EXPECT_THAT(Matches("[^a-z&&[^aeiou]]+", "hello"), ElementsAre("e", "o"));
  EXPECT_THAT(Matches("[]a]+", "a]b"), ElementsAre("a]"));
  EXPECT_THAT(Matches("[\\[\\]\\-\\\\]+", "[-]\\"), ElementsAre("[-]\\"));
  EXPECT_THAT(Matches("[[:digit:][:space:]]+", "a1 \u0661b"), ElementsAre("1 \u0661"));
  EXPECT_THAT(Matches("[\\u0E00-\\u0E7F]+", "a\u0e01\u0e02b"), ElementsAre("\u0e01\u0e02"));
  EXPECT_THAT(Matches("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+", "x_abc ~z"),
              ElementsAre("_abc", "~z"));
}

TEST(RegexTest, OptionsAndGroups) {
  EXPECT_THAT(Matches("(?i:'s|'t)", "'S't'\u017F"), ElementsAre("'S", "'t", "'\u017F"));
  EXPECT_THAT(Matches("x(?i)a|b", "xAxB"), ElementsAre("xA", "xB"));
  EXPECT_THAT(Matches("(?m:a.b)", "a\nb"), ElementsAre("a\nb"));
  EXPECT_THAT(Matches("a.b", "a\nb"), IsEmpty());
  EXPECT_THAT(Matches("(?<name>a)(?#comment)b", "ab"), ElementsAre("ab"));
  EXPECT_THAT(Matches("(?>a+)a|b", "aab"), ElementsAre("b"));
  EXPECT_THAT(Matches("(?<=x)a|(?<!x)b", "xaxbb"), ElementsAre("a", "b"));
  EXPECT_THAT(Matches("\\bcat\\b", "cat \u00e9cat cat1"), ElementsAre("cat"));
  EXPECT_THAT(Matches("\\h+", "xyzBEEFg"), ElementsAre("BEEF"));
}

TEST(RegexTest, EmptyMatches) {
  EXPECT_THAT(Matches("x*", "a\u00e9x"), ElementsAre("", "", "x"));
  EXPECT_THAT(Matches("(?=b)", "abab"), ElementsAre("", ""));
}

TEST(RegexTest, ErrorsNameTheReason) {
  EXPECT_THAT(ErrorOf("(a"), HasSubstr("'(' is not closed"));
  EXPECT_THAT(ErrorOf("a)"), HasSubstr("')' has no '('"));
  EXPECT_THAT(ErrorOf("[a"), HasSubstr("not closed"));
  EXPECT_THAT(ErrorOf("*a"), HasSubstr("nothing to repeat"));
  EXPECT_THAT(ErrorOf("\\1"), HasSubstr("\\1 is not supported"));
  EXPECT_THAT(ErrorOf("\\p{L"), HasSubstr("\\p"));
  EXPECT_THAT(ErrorOf("[z-a]"), HasSubstr("backwards"));
  EXPECT_THAT(ErrorOf("\\x{110000}"), HasSubstr("no character"));
  EXPECT_THAT(ErrorOf("(?(1)a|b)"), HasSubstr("not supported"));
  EXPECT_THAT(ErrorOf("(?R)"), HasSubstr("not supported"));
  EXPECT_THAT(ErrorOf("\xff"), HasSubstr("UTF-8"));
  EXPECT_THAT(ErrorOf("\\p{Klingon}"), HasSubstr("property"));
  EXPECT_THAT(ErrorOf(std::string(100, '(')), HasSubstr("nested"));
  EXPECT_NE(ErrorOf("(?<=a+)b"), "no error");
}

TEST(RegexTest, ExponentialBacktrackingIsAnError) {
  const auto regex = Regex::Compile("(?:a|aa)+$");
  ASSERT_TRUE(regex.ok()) << regex.status();
  RegexScratch scratch;
  std::vector<TextSpan> spans;
  const absl::Status status = (*regex)->FindAll(std::string(200, 'a') + "b", scratch, &spans);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("backtracking"));
}

TEST(UnicodeTest, Properties) {
  const UnicodeProperties properties;
  EXPECT_EQ(properties.CategoryOf('a'), Category::kLl);
  EXPECT_EQ(properties.CategoryOf(0x4E00), Category::kLo);
  EXPECT_EQ(properties.CategoryOf(0x10FFFF), Category::kCn);
  EXPECT_EQ(properties.CategoryOf(0x10FFFD), Category::kCo);
  EXPECT_TRUE(properties.IsNumeric(0xBD));       // one half
  EXPECT_TRUE(properties.IsNumeric(0x11DE0));    // a digit of Unicode 17
  EXPECT_FALSE(properties.IsNumeric(0x4E00));    // the ideograph one
  EXPECT_TRUE(properties.IsPunctuation('$'));    // ASCII symbols count
  EXPECT_FALSE(properties.IsPunctuation(0xA3));  // others do not
  EXPECT_TRUE(properties.IsSpace(0x3000));
  EXPECT_FALSE(properties.IsSpace(0x180E));
  EXPECT_TRUE(properties.IsWord('_'));
  EXPECT_TRUE(properties.IsWord(0x24B6));
  EXPECT_FALSE(properties.IsWord('-'));
}

TEST(UnicodeTest, RangesAgreeWithTheTable) {
  const UnicodeProperties properties;
  for (const CategoryMask mask : {kLetters, kMarks, kNumbers, kPunctuations, kOthers}) {
    const CodePointRanges ranges = RangesOf(mask);
    const CodePointRanges rest = Complement(ranges);
    auto in = ranges.begin();
    for (char32_t c = 0; c < kCodePointEnd; ++c) {
      while (in != ranges.end() && in->second < c) ++in;
      ASSERT_EQ(properties.IsIn(c, mask), in != ranges.end() && in->first <= c)
          << static_cast<uint32_t>(c);
    }
    EXPECT_EQ(Union(Union(ranges, rest), {{0xD800, 0xDFFF}}).size(), 1u);
  }
}

}  // namespace
}  // namespace tessera
