#include "common/json/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ErrorOf(const absl::Status& status) { return std::string(status.message()); }

std::string ParseError(std::string_view text, const JsonLimits& limits = {}) {
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(text, limits);
  EXPECT_EQ(document.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return ErrorOf(document.status());
}

JsonDocument MustParse(std::string_view text) {
  absl::StatusOr<JsonDocument> document = JsonDocument::Parse(text);
  EXPECT_TRUE(document.ok()) << document.status();
  return std::move(document).value();
}

TEST(JsonTest, ReadsEveryKind) {
  const JsonDocument document = MustParse(
      R"({"n": null, "t": true, "i": -3, "u": 18446744073709551615, "d": 0.5, "s": "a\u00e4\n",
          "a": [1, [2, 3], {}], "o": {"x": {"y": 7}}})");
  const JsonValue root = document.root();
  EXPECT_EQ(root.size(), 8u);
  EXPECT_TRUE(root.Member("n")->is_null());
  EXPECT_TRUE(*root.Member("t")->AsBool());
  EXPECT_EQ(*root.Member("i")->AsInteger(), -3);
  EXPECT_EQ(*root.Member("u")->AsUnsigned(), UINT64_MAX);
  EXPECT_EQ(*root.Member("d")->AsNumber(), 0.5);
  EXPECT_EQ(*root.Member("i")->AsNumber(), -3.0);
  EXPECT_EQ(*root.Member("s")->AsString(), "a\xc3\xa4\n");
  const JsonElements array = root.Member("a")->elements();
  ASSERT_EQ(array.size(), 3u);
  EXPECT_EQ(*array[1].at(1).AsInteger(), 3);
  EXPECT_EQ(array[2].size(), 0u);
  EXPECT_EQ(*root.Member("o")->Member("x")->Member("y")->AsInteger(), 7);
  EXPECT_FALSE(root.Find("absent").has_value());
}

TEST(JsonTest, MembersKeepTheTextsOrder) {
  const JsonDocument document = MustParse(R"({"z": 1, "a": 2, "m": 3})");
  std::string order;
  for (auto [key, value] : document.root().members())
    order += absl::StrCat(std::string(key), *value.AsInteger());
  EXPECT_EQ(order, "z1a2m3");
}

TEST(JsonTest, WholeNumbersMayBeWrittenWithAFraction) {
  const JsonDocument document = MustParse(R"([4.0, 1e3, 4.5, 1e300, -1])");
  const JsonValue root = document.root();
  EXPECT_EQ(*root.at(0).AsInteger(), 4);
  EXPECT_EQ(*root.at(1).AsUnsigned(), 1000u);
  EXPECT_FALSE(root.at(2).AsInteger().ok());
  EXPECT_FALSE(root.at(3).AsUnsigned().ok());
  EXPECT_FALSE(root.at(4).AsUnsigned().ok());
}

TEST(JsonTest, AccessorsNamePathFoundAndExpected) {
  const JsonDocument document =
      MustParse(R"({"rope": {"theta": "abc"}, "list": [0, {"odd key.": 5}], "big": 99})");
  const JsonValue root = document.root();
  EXPECT_EQ(ErrorOf(root.Member("rope")->Member("theta")->AsNumber().status()),
            "rope.theta: found string 'abc'; expected a number");
  EXPECT_EQ(ErrorOf(root.Member("list")->at(1).at(0).AsString().status()),
            "list[1].\"odd key.\": found number 5; expected a string");
  EXPECT_EQ(ErrorOf(root.Member("big")->AsInteger(1, 8).status()),
            "big: found number 99; expected a whole number from 1 to 8");
  EXPECT_EQ(ErrorOf(root.Member("nope").status()), "the document: the key nope is missing");
  EXPECT_EQ(ErrorOf(root.Member("rope")->Member("nope").status()), "rope: the key nope is missing");
  EXPECT_EQ(ErrorOf(root.AsArray().status()), "the document: found object of 3; expected an array");
  EXPECT_EQ(ErrorOf(root.Member("list")->AsObject().status()),
            "list: found array of 2; expected an object");
  EXPECT_FALSE(root.Member("big")->Member("x").ok());
  EXPECT_FALSE(root.Member("big")->AsBool().ok());
}

TEST(JsonTest, PathsSurviveAMoveAndNesting) {
  JsonDocument first = MustParse(R"([[["x"], [{"k": [null, {"deep": 1}]}]]])");
  const JsonValue deep = first.root().at(0).at(1).at(0).at(0).at(1).at(0);
  const JsonDocument second = std::move(first);
  EXPECT_EQ(deep.Path(), "[0][1][0].k[1].deep");
  EXPECT_EQ(deep.key(), "deep");
}

TEST(JsonTest, RefusesWhatIsNotJson) {
  EXPECT_THAT(ParseError("{\n  \"a\": 1,\n  oops}"),
              AllOf(HasSubstr("line 3"), HasSubstr("column")));
  for (const char* text :
       {"",      " ",     "{",          "[1,]",          "{\"a\":1,}", "{\"a\" 1}",
        "[1] 2", "NaN",   "[Infinity]", "[-Infinity]",   "[1e999]",    "[01]",
        "[.5]",  "['a']", "[1 // c\n]", "[\"\\ud800\"]", "[\"\xff\"]", "[\"\t\"]",
        "tru",   "\"open"}) {
    ParseError(text);
  }
}

TEST(JsonTest, RefusesAKeyThatStandsTwice) {
  EXPECT_THAT(ParseError(R"({"a": {"b": [{"c": 1, "d": 2, "c": 3}]}})"),
              HasSubstr("the key c stands twice in a.b[0]"));
  std::string large = "{";
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&large, "\"k", i, "\": ", i, ", ");
  EXPECT_THAT(ParseError(large + "\"k500\": 1}"), HasSubstr("the key k500 stands twice"));
}

TEST(JsonTest, LimitsAreNamed) {
  EXPECT_THAT(ParseError("[1, 2, 3]", {.bytes_max = 4}), HasSubstr("at most 4"));
  EXPECT_THAT(ParseError("[[[[1]]]]", {.depth_max = 3}), HasSubstr("deeper than 3"));
  EXPECT_TRUE(JsonDocument::Parse("[[[1]]]", {.depth_max = 3}).ok());
  EXPECT_THAT(ParseError("[1, 2, 3]", {.values_max = 3}), HasSubstr("more than 3 values"));
  EXPECT_THAT(ParseError(std::string(1 << 20, '[')), HasSubstr("deeper than 64"));
}

TEST(JsonTest, FindsMembersOfALargeObject) {
  std::string text = "{";
  for (int i = 0; i < 100000; ++i) absl::StrAppend(&text, i ? ", " : "", "\"key", i, "\": ", i);
  const JsonDocument document = MustParse(text + "}");
  for (int i = 0; i < 100000; i += 997)
    EXPECT_EQ(*document.root().Member(absl::StrCat("key", i))->AsInteger(), i);
  EXPECT_FALSE(document.root().Find("key100000").has_value());
}

TEST(JsonTest, ReadsFilesAndNamesThem) {
  const std::string path =
      ::testing::TempDir() + "/json_test_file_" + std::to_string(getpid()) + ".json";
  std::ofstream(path) << R"({"a": 1})";
  EXPECT_EQ(*JsonDocument::ReadFile(path)->root().Member("a")->AsInteger(), 1);
  std::ofstream(path) << R"({"a": )";
  EXPECT_THAT(ErrorOf(JsonDocument::ReadFile(path).status()), HasSubstr(path));
  EXPECT_THAT(ErrorOf(JsonDocument::ReadFile(path, {.bytes_max = 3}).status()),
              HasSubstr("at most 3"));
  std::remove(path.c_str());
  EXPECT_EQ(JsonDocument::ReadFile(path).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tessera
