#include "common/wire/hello_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/common/wire/wire_samples.h"

namespace tessera::wire {
namespace {

using ::testing::HasSubstr;

Hello SampleHello() {
  Hello hello;
  hello.session = 7;
  hello.incarnation = 99;
  hello.token.fill(3);
  hello.model_hash.fill(0xab);
  hello.geometry = SampleGeometry();
  hello.credits = 3;
  hello.kernel_level = 2;
  return hello;
}

absl::StatusOr<Hello> RoundTrip(const Hello& hello) {
  FrameMemory memory(kHelloFrameBytes);
  const auto frame = WriteHello(hello, false, memory.span());
  const auto header = ReadHeader(frame);
  if (!header.ok()) return header.status();
  return ReadHello(*header, frame);
}

TEST(HelloWireTest, SurvivesTheRoundTrip) {
  const auto read = RoundTrip(SampleHello());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, SampleHello());
}

TEST(HelloWireTest, ImpossibleGreetingsAreRefused) {
  Hello hello = SampleHello();
  hello.credits = 0;
  EXPECT_THAT(RoundTrip(hello).status().message(), HasSubstr("0 credits"));
  hello = SampleHello();
  hello.session = 0;
  EXPECT_EQ(RoundTrip(hello).status().code(), absl::StatusCode::kDataLoss);
  hello = SampleHello();
  hello.geometry.d_model = 0;
  EXPECT_THAT(RoundTrip(hello).status().message(), HasSubstr("d_model is 0"));
}

TEST(HelloWireTest, DifferencesAreNamedWithBothValues) {
  const Hello ours = SampleHello();
  EXPECT_TRUE(CompareHello(ours, ours).ok());
  Hello theirs = ours;
  theirs.geometry.d_model = 64;
  EXPECT_EQ(CompareHello(ours, theirs).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CompareHello(ours, theirs).message(), "d_model differs: here 20, there 64");
  theirs = ours;
  theirs.model_hash[0] = 1;
  EXPECT_THAT(CompareHello(ours, theirs).message(), HasSubstr("there 01ab"));
  theirs = ours;
  theirs.kernel_level = 5;
  EXPECT_TRUE(CompareHello(ours, theirs).ok()) << "only strict mode needs equal kernels";
  Hello strict = ours;
  strict.geometry.strict = theirs.geometry.strict = true;
  EXPECT_EQ(CompareHello(strict, theirs).message(), "kernel level differs: here 2, there 5");
}

TEST(HelloWireTest, TokensCompare) {
  SessionToken a{}, b{};
  EXPECT_TRUE(SameToken(a, b));
  b[15] = 1;
  EXPECT_FALSE(SameToken(a, b));
}

}  // namespace
}  // namespace tessera::wire
