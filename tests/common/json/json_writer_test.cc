#include "common/json/json_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/json/json.h"

namespace tessera {
namespace {

TEST(JsonWriterTest, Strings) {
  EXPECT_EQ(JsonQuoted("plain"), "\"plain\"");
  EXPECT_EQ(JsonQuoted("a\"b\\c\n\r\t"), "\"a\\\"b\\\\c\\n\\r\\t\"");
  EXPECT_EQ(JsonQuoted(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\\u007f\"");
  EXPECT_EQ(JsonQuoted("é北🙂"), "\"é北🙂\"");
  EXPECT_EQ(JsonQuoted("\xE2\x80\xA8"), "\"\\u2028\"");
  EXPECT_EQ(JsonQuoted("a\xff"), "\"a\xEF\xBF\xBD\"");
  EXPECT_EQ(JsonQuoted("\xE5\x8C"), "\"\xEF\xBF\xBD\"");
}

TEST(JsonWriterTest, AnyBytesAreValidJson) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; b += 3) {
      const std::string text = {static_cast<char>(a), static_cast<char>(b), 'x'};
      const auto document = JsonDocument::Parse(JsonQuoted(text));
      ASSERT_TRUE(document.ok()) << a << " " << b << " " << document.status();
    }
  }
}

TEST(JsonWriterTest, Numbers) {
  const auto number = [](double value) {
    std::string out;
    AppendJsonNumber(value, out);
    return out;
  };
  EXPECT_EQ(number(0.1), "0.1");
  EXPECT_EQ(number(1e300), "1e+300");
  EXPECT_EQ(number(-3), "-3");
  EXPECT_EQ(number(NAN), "0");
  EXPECT_TRUE(JsonDocument::Parse(number(INFINITY)).ok());
  EXPECT_TRUE(JsonDocument::Parse(number(-INFINITY)).ok());
}

TEST(JsonWriterTest, Objects) {
  std::string out;
  JsonWriter json(out);
  json.Open('{')
      .Key("a")
      .Integer(-1)
      .Key("b")
      .Open('[')
      .Bool(true)
      .Null()
      .Number(1.5f)
      .Number(0.1)
      .Close(']');
  json.Key("c").Open('{').Close('}').Key("d").Raw("[1,2]").Key("e").Open('[').Raw("").Close(']');
  json.Close('}');
  EXPECT_EQ(out, R"({"a":-1,"b":[true,null,1.5,0.1],"c":{},"d":[1,2],"e":[]})");
}

}  // namespace
}  // namespace tessera
