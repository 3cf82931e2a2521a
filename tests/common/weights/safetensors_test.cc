#include "common/weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/safetensors_writer.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SafetensorsFile;

absl::StatusOr<std::vector<StoredTensor>> Parse(const std::string& file) {
  return ParseSafetensors(std::as_bytes(std::span(file)));
}

std::string Refusal(const std::string& file) {
  const auto tensors = Parse(file);
  EXPECT_EQ(tensors.status().code(), absl::StatusCode::kDataLoss);
  return std::string(tensors.status().message());
}

// A file with `data_bytes` bytes of data under `header`.
std::string HeaderRefusal(const std::string& header, size_t data_bytes) {
  return Refusal(SafetensorsFile(header, std::string(data_bytes, 'x')));
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\": {\"dtype\": \"", dtype, "\", \"shape\": ", shape,
                      ", \"data_offsets\": ", offsets, "}");
}

TEST(SafetensorsTest, ReadsAFile) {
  const std::string file =
      SafetensorsFile(absl::StrCat("{\"__metadata__\": {\"format\": \"pt\"}, ",
                                   Entry("b", "BF16", "[2, 3]", "[1, 13]"), ", ",
                                   Entry("empty", "F32", "[0, 7]", "[13, 13]"), ", ",
                                   Entry("a", "U8", "[]", "[0, 1]"), "}   "),
                      std::string(13, 'x'));
  const auto tensors = Parse(file);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 3u);
  EXPECT_EQ((*tensors)[0].name, "a");
  EXPECT_EQ((*tensors)[0].size_bytes, 1u);
  EXPECT_TRUE((*tensors)[0].shape.empty());
  EXPECT_EQ((*tensors)[1].name, "b");
  EXPECT_EQ((*tensors)[1].dtype, DType::kBF16);
  EXPECT_THAT((*tensors)[1].shape, ElementsAre(2, 3));
  EXPECT_EQ((*tensors)[1].offset, file.size() - 12);  // unaligned, as the format allows
  EXPECT_EQ((*tensors)[2].name, "empty");
  EXPECT_EQ((*tensors)[2].size_bytes, 0u);
}

TEST(SafetensorsTest, EmptyTensorsBetweenOthers) {
  const auto tensors = Parse(SafetensorsFile(
      absl::StrCat("{", Entry("a", "U8", "[4]", "[0, 4]"), ", ", Entry("b", "U8", "[0]", "[4, 4]"),
                   ", ", Entry("c", "U8", "[2]", "[4, 6]"), "}"),
      "abcdef"));
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_TRUE(Parse(SafetensorsFile("{}", "")).ok());
}

TEST(SafetensorsTest, HeadersThatDoNotFit) {
  EXPECT_THAT(Refusal(""), HasSubstr("the file has 0 bytes"));
  EXPECT_THAT(Refusal("1234567"), HasSubstr("7 bytes"));
  const std::string file = SafetensorsFile("{}", "");
  EXPECT_THAT(Refusal(file.substr(0, 9)),
              AllOf(HasSubstr("claims 2 bytes"), HasSubstr("truncated")));
  std::string huge = file;
  huge[7] = '\x7f';
  EXPECT_THAT(Refusal(huge), HasSubstr("the format allows 100000000"));
}

TEST(SafetensorsTest, HeadersThatAreNoJson) {
  EXPECT_THAT(HeaderRefusal("{\"a\": ", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(HeaderRefusal("[]", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(HeaderRefusal("{\"a\": [[[[[]]]]]}", 0), HasSubstr("deeper than 4"));
  EXPECT_THAT(HeaderRefusal("{\"a\": 3}", 0), AllOf(HasSubstr("tensor 'a'"), HasSubstr("object")));
  EXPECT_THAT(HeaderRefusal(absl::StrCat("{", Entry("a", "U8", "[1]", "[0, 1]"), ", ",
                                         Entry("a", "U8", "[1]", "[1, 2]"), "}"),
                            2),
              HasSubstr("the key a stands twice"));
}

TEST(SafetensorsTest, EntriesThatContradictThemselves) {
  const auto refusal = [](const char* dtype, const char* shape, const char* offsets) {
    return HeaderRefusal(absl::StrCat("{", Entry("t", dtype, shape, offsets), "}"), 8);
  };
  EXPECT_THAT(refusal("F99", "[2]", "[0, 8]"), AllOf(HasSubstr("tensor 't'"), HasSubstr("'F99'")));
  EXPECT_THAT(refusal("F32", "[3]", "[0, 8]"),
              AllOf(HasSubstr("span 8 bytes"), HasSubstr("F32 [3]")));
  EXPECT_THAT(refusal("F32", "[2]", "[0, 16]"), HasSubstr("truncated"));
  EXPECT_THAT(refusal("F32", "[2]", "[8, 0]"), HasSubstr("[8, 0]"));
  EXPECT_THAT(refusal("F32", "[-2]", "[0, 8]"), HasSubstr("shape[0]: found number -2"));
  EXPECT_THAT(refusal("F32", "[2.5]", "[0, 8]"), HasSubstr("shape[0]"));
  EXPECT_THAT(refusal("F32", "2", "[0, 8]"), HasSubstr("expected an array"));
  EXPECT_THAT(refusal("F32", "[2]", "[0]"), HasSubstr("two numbers"));
  EXPECT_THAT(refusal("F32", "[2]", "[0, \"8\"]"), HasSubstr("data_offsets[1]"));
  EXPECT_THAT(refusal("F32", "[1,1,1,1,1,1,1,1,2]", "[0, 8]"), HasSubstr("at most 8 dimensions"));
  EXPECT_THAT(refusal("U8", "[4294967296, 4294967296]", "[0, 8]"), HasSubstr("fits 64 bits"));
  // The product of the shape fits 64 bits, its bytes do not: 2^62 * 4 = 0.
  EXPECT_THAT(refusal("F32", "[2147483648, 2147483648]", "[0, 0]"), HasSubstr("span 0 bytes"));
  EXPECT_THAT(HeaderRefusal("{\"t\": {\"shape\": [1], \"data_offsets\": [0, 1]}}", 1),
              HasSubstr("dtype is missing"));
}

TEST(SafetensorsTest, OverlapsAndGaps) {
  const auto refusal = [](const char* first, const char* second, size_t data_bytes) {
    return HeaderRefusal(absl::StrCat("{", Entry("a", "U8", "[4]", first), ", ",
                                      Entry("b", "U8", "[4]", second), "}"),
                         data_bytes);
  };
  EXPECT_THAT(refusal("[0, 4]", "[3, 7]", 7),
              AllOf(HasSubstr("'b'"), HasSubstr("inside the one before")));
  EXPECT_THAT(refusal("[0, 4]", "[0, 4]", 4), HasSubstr("inside the one before"));
  EXPECT_THAT(refusal("[0, 4]", "[5, 9]", 9), AllOf(HasSubstr("'b'"), HasSubstr("behind a gap")));
  EXPECT_THAT(refusal("[1, 5]", "[5, 9]", 9), AllOf(HasSubstr("'a'"), HasSubstr("behind a gap")));
  EXPECT_THAT(refusal("[0, 4]", "[4, 8]", 9), HasSubstr("end at data offset 8"));
  EXPECT_THAT(refusal("[0, 4]", "[4, 8]", 7), HasSubstr("truncated"));
}

TEST(SafetensorsTest, AHundredThousandTensors) {
  std::vector<testing::FileTensor> tensors;
  for (int i = 0; i < 100000; ++i)
    tensors.push_back({absl::StrCat("model.layers.", i, ".weight"), DType::kU8, {1}, "x"});
  const auto parsed = Parse(SafetensorsFile(tensors));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->size(), 100000u);
}

}  // namespace
}  // namespace tessera
