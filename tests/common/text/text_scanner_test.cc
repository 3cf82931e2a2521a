#include "common/text/text_scanner.h"

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "common/base/utf8.h"
#include "common/text/regex.h"

namespace tessera {
namespace {

// Texts of the characters on which the expressions turn, and of some of every script.
std::string RandomText(Random& random) {
  constexpr std::u32string_view kTurning =
      U"aZsStTdDmMlLeErRvV''\u017F\u0131''  "
      U"\t\r\n\n\u00A0\u3000\u2028\u0085!-_$^`~\u00BF\u2014\u20AC"
      U"0123456789\u0663\u00BD\u2167\U0001D7D8\u0301\u0903\u093E\u4E00\u3042\u30FF\u0E01\u0E81"
      U"\u1780\u1000"
      U"\uAA60\uAC00\u1100\uFF66\uF900\u2F00\u00E9\u01C5\u02B0\u05D0\U00011F04\u180E\u200B"
      U"\U000E0001";
  std::string text;
  const bool digits_only = random.Below(8) == 0;
  for (size_t n = random.Below(30); n > 0; --n) {
    char32_t c = kTurning[random.Below(kTurning.size())];
    if (random.Below(12) == 0) c = static_cast<char32_t>(random.Below(kCodePointEnd));
    if (c >= 0xD800 && c < 0xE000) c = U' ';
    if (digits_only) c = random.Below(5) == 0 ? U'\u0663' : U'7';
    for (size_t repeats = random.Below(4) == 0 ? 1 + random.Below(6) : 1; repeats > 0; --repeats) {
      AppendUtf8(c, &text);
    }
  }
  if (random.Below(100) == 0) {
    for (size_t repeats = 500 + random.Below(600); repeats > 0; --repeats) text += "1";
  }
  return text;
}

TEST(TextScannerTest, FindsWhatTheRegexFinds) {
  const auto properties = std::make_shared<const UnicodeProperties>();
  for (const std::string_view pattern : TextScanner::KnownRegexes()) {
    SCOPED_TRACE(std::string(pattern));
    const auto regex = Regex::Compile(pattern);
    ASSERT_TRUE(regex.ok()) << regex.status();
    const auto scanner = TextScanner::ForRegex(pattern, properties);
    ASSERT_NE(scanner, nullptr);
    RegexScratch scratch;
    Random random(30);
    size_t matches = 0;
    for (int i = 0; i < 20000; ++i) {
      const std::string text = RandomText(random);
      std::vector<TextSpan> wanted;
      std::vector<TextSpan> found;
      ASSERT_TRUE((*regex)->FindAll(text, scratch, &wanted).ok());
      scanner->FindAll(text, &found);
      ASSERT_EQ(found, wanted) << "text " << i << ": " << text;
      matches += wanted.size();
    }
    EXPECT_GT(matches, 500u);  // the texts do exercise the expression
  }
}

TEST(TextScannerTest, OtherRegexesHaveNone) {
  EXPECT_EQ(TextScanner::ForRegex("a+", std::make_shared<const UnicodeProperties>()), nullptr);
}

TEST(TextScannerTest, MegabytesOfDigitsTakeLinearTime) {
  const auto properties = std::make_shared<const UnicodeProperties>();
  const auto scanner = TextScanner::ForRegex(TextScanner::KnownRegexes().front(), properties);
  const std::string text(2000001, '1');
  std::vector<TextSpan> found;
  scanner->FindAll(text, &found);
  EXPECT_EQ(found.size(), 3922u);
  EXPECT_EQ(found.front(), (TextSpan{0, 2000001 % 510}));
  EXPECT_EQ(found.back().end, 2000001u);
}

}  // namespace
}  // namespace tessera
