#include "common/text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "common/base/utf8.h"
#include "common/text/decoder.h"
#include "common/text/normal_forms.h"
#include "common/text/normalizer.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Cut(const std::string& spec, std::string_view text,
                             bool starts_input = true) {
  const auto document = JsonDocument::Parse(spec);
  EXPECT_TRUE(document.ok()) << document.status();
  const auto chain =
      ParsePreTokenizer(document->root(), std::make_shared<const UnicodeProperties>());
  EXPECT_TRUE(chain.ok()) << chain.status();
  if (!chain.ok()) return {"error"};
  PreTokenizeScratch scratch;
  Pieces pieces;
  pieces.Reset(text, starts_input);
  for (const auto& stage : chain->stages) EXPECT_TRUE(stage->Cut(scratch, &pieces).ok());
  std::vector<std::string> result;
  for (const TextSpan span : pieces.spans()) result.emplace_back(Slice(pieces.text(), span));
  return result;
}

std::string SplitSpec(std::string_view pattern, std::string_view behavior, bool invert = false) {
  std::ostringstream spec;
  spec << "{\"type\":\"Split\",\"pattern\":" << pattern << ",\"behavior\":\"" << behavior
       << "\",\"invert\":" << (invert ? "true" : "false") << "}";
  return spec.str();
}

TEST(PreTokenizerTest, SplitBehaviors) {
  const std::string dash = R"({"String":"-"})";
  EXPECT_THAT(Cut(SplitSpec(dash, "Removed"), "a--b-"), ElementsAre("a", "b"));
  EXPECT_THAT(Cut(SplitSpec(dash, "Isolated"), "a--b-"), ElementsAre("a", "-", "-", "b", "-"));
  EXPECT_THAT(Cut(SplitSpec(dash, "MergedWithPrevious"), "-a--b-"),
              ElementsAre("-", "a-", "-", "b-"));
  EXPECT_THAT(Cut(SplitSpec(dash, "MergedWithNext"), "-a--b-"), ElementsAre("-a", "-", "-b", "-"));
  EXPECT_THAT(Cut(SplitSpec(dash, "Contiguous"), "a--b-"), ElementsAre("a", "--", "b", "-"));
  EXPECT_THAT(Cut(SplitSpec(dash, "Isolated"), "ab"), ElementsAre("ab"));
  EXPECT_THAT(Cut(SplitSpec(dash, "Isolated"), ""), IsEmpty());
}

TEST(PreTokenizerTest, SplitInverted) {
  const std::string digits = R"({"Regex":"\\d+"})";
  EXPECT_THAT(Cut(SplitSpec(digits, "Removed", true), "a12b3"), ElementsAre("12", "3"));
  EXPECT_THAT(Cut(SplitSpec(digits, "Removed", true), "ab"), IsEmpty());
  EXPECT_THAT(Cut(SplitSpec(digits, "Isolated", true), "a12b3"), ElementsAre("a", "12", "b", "3"));
  EXPECT_THAT(Cut(SplitSpec(digits, "MergedWithPrevious", true), "a12b3"),
              ElementsAre("a", "12b", "3"));
}

TEST(PreTokenizerTest, StringPatternsAreLiteral) {
  EXPECT_THAT(Cut(SplitSpec(R"({"String":".+"})", "Isolated"), "a.+b"),
              ElementsAre("a", ".+", "b"));
}

TEST(PreTokenizerTest, Digits) {
  EXPECT_THAT(Cut(R"({"type":"Digits","individual_digits":false})", "a12\u00bdb"),
              ElementsAre("a", "12\u00bd", "b"));
  EXPECT_THAT(Cut(R"({"type":"Digits","individual_digits":true})", "a12b"),
              ElementsAre("a", "1", "2", "b"));
}

TEST(PreTokenizerTest, Punctuation) {
  EXPECT_THAT(Cut(R"({"type":"Punctuation"})", "a.$b\u00a3\u00bf"),
              ElementsAre("a", ".", "$", "b\u00a3", "\u00bf"));
  EXPECT_THAT(Cut(R"({"type":"Punctuation","behavior":"Contiguous"})", "a.$b"),
              ElementsAre("a", ".$", "b"));
}

TEST(PreTokenizerTest, Whitespace) {
  EXPECT_THAT(Cut(R"({"type":"Whitespace"})", "a_1 b!?\n"), ElementsAre("a_1", "b", "!?"));
  EXPECT_THAT(Cut(R"({"type":"WhitespaceSplit"})", " a! \u3000b"), ElementsAre("a!", "b"));
}

TEST(PreTokenizerTest, ByteLevel) {
  EXPECT_THAT(
      Cut(R"({"type":"ByteLevel","add_prefix_space":true,"use_regex":true})", "I've 12 x  y"),
      ElementsAre(" I", "'ve", " 12", " x", " ", " y"));
  EXPECT_THAT(Cut(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})", "a b"),
              ElementsAre("a b"));
  // Only at the end of the chain may the alphabet be left out.
  EXPECT_THAT(Cut(R"({"type":"Sequence","pretokenizers":[
                     {"type":"ByteLevel","add_prefix_space":false,"use_regex":false},
                     {"type":"Digits","individual_digits":true}]})",
                  "a \u00e91"),
              ElementsAre("a\u0120\u00c3\u00a9", "1"));
}

TEST(PreTokenizerTest, Metaspace) {
  EXPECT_THAT(Cut(R"({"type":"Metaspace","prepend_scheme":"always"})", "Hey you"),
              ElementsAre("\u2581Hey", "\u2581you"));
  EXPECT_THAT(Cut(R"({"type":"Metaspace","prepend_scheme":"never","split":false})", "Hey you"),
              ElementsAre("Hey\u2581you"));
  EXPECT_THAT(Cut(R"({"type":"Metaspace","prepend_scheme":"first"})", "Hey", false),
              ElementsAre("Hey"));
  EXPECT_THAT(Cut(R"({"type":"Metaspace","prepend_scheme":"first"})", "Hey", true),
              ElementsAre("\u2581Hey"));
  EXPECT_THAT(Cut(R"({"type":"Metaspace","add_prefix_space":true,"replacement":"_"})", " Hey"),
              ElementsAre("_Hey"));
}

std::string Normalized(const std::string& spec, std::string text) {
  const auto document = JsonDocument::Parse(spec);
  const auto normalizer = Normalizer::FromJson(document->root());
  EXPECT_TRUE(normalizer.ok()) << normalizer.status();
  RegexScratch scratch;
  if (*normalizer != nullptr) {
    EXPECT_TRUE((*normalizer)->Normalize(scratch, &text).ok());
  }
  return text;
}

TEST(NormalizerTest, Forms) {
  EXPECT_EQ(Normalized(R"({"type":"NFC"})", "e\u0301 A\u030a\u0323 \u1100\u1161\u11a8"),
            "\u00e9 \u1ea0\u030a \uac01");
  EXPECT_EQ(Normalized(R"({"type":"NFD"})", "\u00e9 \uac01 \u1ea0"),
            "e\u0301 \u1100\u1161\u11a8 A\u0323");
  EXPECT_EQ(Normalized(R"({"type":"NFKC"})", "\ufb01 \u2460 \u00bd \uff21"), "fi 1 1\u20442 A");
  EXPECT_EQ(Normalized(R"({"type":"NFKD"})", "\ufb01\u00e9"), "fie\u0301");
  EXPECT_EQ(Normalized(R"({"type":"NFC"})", "\u212b \u0344 \u0958"),
            "\u00c5 \u0308\u0301 \u0915\u093c");
  EXPECT_EQ(Normalized(R"({"type":"NFC"})", "a\u0301\u0328"),
            "\u0105\u0301");  // marks change places
}

TEST(NormalizerTest, NormalFormsAreStable) {
  const FormNormalizer nfc(NormalForm::kNfc);
  const FormNormalizer nfd(NormalForm::kNfd);
  std::string composed;
  std::string decomposed;
  std::string again;
  for (char32_t c = 1; c < 0x30000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text(1, 'a');
    AppendUtf8(c, &text);
    text += "\u0301b";
    nfc.Apply(text, &composed);
    nfd.Apply(text, &decomposed);
    nfc.Apply(decomposed, &again);
    ASSERT_EQ(composed, again) << static_cast<uint32_t>(c);
    nfd.Apply(composed, &again);
    ASSERT_EQ(decomposed, again) << static_cast<uint32_t>(c);
  }
}

TEST(NormalizerTest, Others) {
  EXPECT_EQ(Normalized(R"({"type":"Lowercase"})", "A\u00c9\u0130\u03a3\U00010400"),
            "a\u00e9i\u0307\u03c3\U00010428");
  EXPECT_EQ(Normalized(R"({"type":"Prepend","prepend":"_"})", "a"), "_a");
  EXPECT_EQ(Normalized(R"({"type":"Prepend","prepend":"_"})", ""), "");
  EXPECT_EQ(Normalized(R"({"type":"Replace","pattern":{"String":" "},"content":"_"})", "a  b"),
            "a__b");
  EXPECT_EQ(Normalized(R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "})", "a\n\tb"),
            "a b");
  EXPECT_EQ(Normalized(R"({"type":"Strip","strip_left":true,"strip_right":true})", " \u3000a b\n"),
            "a b");
  EXPECT_EQ(Normalized(R"({"type":"Strip","strip_left":false,"strip_right":true})", " a "), " a");
  EXPECT_EQ(
      Normalized(R"({"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"}]})",
                 "\u00e9a"),
      "ea");
  EXPECT_EQ(Normalized(R"({"type":"Sequence","normalizers":[]})", "\u00e9"), "\u00e9");
  EXPECT_EQ(Normalized("null", "\u00e9"), "\u00e9");
}

std::string Decoded(const std::string& spec, const std::vector<std::string>& pieces) {
  const auto document = JsonDocument::Parse(spec);
  const auto decoder = Decoder::FromJson(document->root());
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  const std::unique_ptr<DecodeStream> stream = (*decoder)->NewStream();
  std::string text;
  for (const std::string& piece : pieces) stream->Push(piece, &text);
  stream->Flush(&text);
  return text;
}

TEST(DecoderTest, Stages) {
  EXPECT_EQ(Decoded("null", {"a", "b"}), "a b");
  EXPECT_EQ(Decoded(R"({"type":"ByteLevel"})", {"\u0120a", "\u00c3", "\u00a9", "x y"}),
            " a\u00e9x y");
  EXPECT_EQ(Decoded(R"({"type":"Metaspace","prepend_scheme":"always"})", {"\u2581a", "\u2581b"}),
            "a b");
  EXPECT_EQ(Decoded(R"({"type":"Metaspace","prepend_scheme":"never"})", {"\u2581a", "\u2581b"}),
            " a b");
  EXPECT_EQ(Decoded(R"({"type":"Replace","pattern":{"String":"_"},"content":" "})", {"_a", "_b"}),
            " a b");
  EXPECT_EQ(Decoded(R"({"type":"ByteFallback"})", {"<0xE5>", "<0x8f>", "a", "<0x61>"}),
            "\uFFFD\uFFFDaa");
  EXPECT_EQ(Decoded(R"({"type":"Strip","content":"_","start":1,"stop":1})", {"__a_", "b__"}),
            "_ab_");
}

TEST(DecoderTest, StripBehindFuseSeesTheWholeText) {
  const std::string spec = R"({"type":"Sequence","decoders":[{"type":"Fuse"},
    {"type":"Strip","content":"_","start":2,"stop":2}]})";
  EXPECT_EQ(Decoded(spec, {"_", "_", "_a", "_", "b_", "__"}), "_a_b_");
  EXPECT_EQ(Decoded(spec, {"_"}), "");
  EXPECT_EQ(Decoded(spec, {"a", "_", "b"}), "a_b");
}

TEST(DecoderTest, StagesThatNeedTheWholeTextAreRefused) {
  const auto document = JsonDocument::Parse(
      R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]})");
  EXPECT_THAT(std::string(Decoder::FromJson(document->root()).status().message()),
              HasSubstr("decoders[1].type"));
}

}  // namespace
}  // namespace tessera
