#include "common/tracing/otlp_json.h"

#include <gtest/gtest.h>

#include <limits>

#include "common/base/utf8.h"
#include "common/base/version.h"
#include "common/json/json.h"

namespace tessera {
namespace {

TEST(OtlpJsonTest, ASpanInFull) {
  SpanRecord span;
  span.context = *ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  span.parent = {0, 0, 0, 0, 0, 0, 0, 9};
  span.name = "chat \"a\\b\"\n";
  span.start = absl::FromUnixNanos(1700000000123456789);
  span.end = absl::FromUnixNanos(1700000001000000000);
  span.error_type = "deadline";
  span.attributes = {{"count", int64_t{1} << 60},
                     {"part", 0.25},
                     {"yes", true},
                     {"word", std::string("é")},
                     {"list", std::vector<std::string>{"stop", "length"}}};
  span.events = {{"first_token", absl::FromUnixNanos(1700000000500000000)}};
  const std::string expected =
      "{\"resourceSpans\":[{\"resource\":{\"attributes\":["
      "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"tessera-test\"}},"
      "{\"key\":\"service.version\",\"value\":{\"stringValue\":\"" +
      std::string(Version()) +
      "\"}},"
      "{\"key\":\"service.instance.id\",\"value\":{\"stringValue\":\"7\"}}]},"
      "\"scopeSpans\":[{\"scope\":{\"name\":\"tessera\"},\"spans\":["
      "{\"traceId\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"spanId\":\"00f067aa0ba902b7\","
      "\"parentSpanId\":\"0000000000000009\",\"name\":\"chat \\\"a\\\\b\\\"\\n\","
      "\"kind\":2,\"flags\":1,\"startTimeUnixNano\":\"1700000000123456789\","
      "\"endTimeUnixNano\":\"1700000001000000000\",\"attributes\":["
      "{\"key\":\"count\",\"value\":{\"intValue\":\"1152921504606846976\"}},"
      "{\"key\":\"part\",\"value\":{\"doubleValue\":0.25}},"
      "{\"key\":\"yes\",\"value\":{\"boolValue\":true}},"
      "{\"key\":\"word\",\"value\":{\"stringValue\":\"é\"}},"
      "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":["
      "{\"stringValue\":\"stop\"},{\"stringValue\":\"length\"}]}}},"
      "{\"key\":\"error.type\",\"value\":{\"stringValue\":\"deadline\"}}],"
      "\"events\":[{\"timeUnixNano\":\"1700000000500000000\",\"name\":\"first_token\"}],"
      "\"status\":{\"code\":2}}]}]}]}";
  EXPECT_EQ(WriteOtlpJson({"tessera-test", "7"}, {&span, 1}), expected);
}

TEST(OtlpJsonTest, ARootThatWentWellSaysNeitherParentNorStatus) {
  std::vector<SpanRecord> spans(2);
  const std::string text = WriteOtlpJson({"s", ""}, spans);
  EXPECT_EQ(text.find("parentSpanId"), std::string::npos);
  EXPECT_EQ(text.find("service.instance.id"), std::string::npos);
  EXPECT_NE(text.find("\"attributes\":[],\"events\":[],\"status\":{}},{\"traceId\""),
            std::string::npos)
      << text;
}

// A model's name is the client's to choose, and a number may be the quotient of nothing.
TEST(OtlpJsonTest, BrokenTextAndNumbersThatAreNoneMakeGoodJson) {
  SpanRecord span;
  span.name = "chat \xff\xfe\xE5\x8C";
  span.error_type = "\x80";
  span.attributes = {{"inf", std::numeric_limits<double>::infinity()},
                     {"nan", std::numeric_limits<double>::quiet_NaN()},
                     {"word", std::string("\xC0\xAF\x01")},
                     {"list", std::vector<std::string>{"\xF5"}}};
  span.events = {{"\xED\xA0\x80", absl::UnixEpoch()}};
  const std::string text = WriteOtlpJson({"\xff", "\xff"}, {&span, 1});
  const auto document = JsonDocument::Parse(text);
  ASSERT_TRUE(document.ok()) << document.status() << text;
  EXPECT_EQ(FindInvalidUtf8(text), std::string::npos);
  EXPECT_NE(text.find("\"nan\",\"value\":{\"doubleValue\":0}"), std::string::npos) << text;
}

}  // namespace
}  // namespace tessera
