#include "common/base/in_range.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera {
namespace {

TEST(InRangeTest, SaysWhatIsAndWhatMayBe) {
  EXPECT_TRUE(InRange("n", 1, 1, 3).ok());
  EXPECT_TRUE(InRange("n", 3, 1, 3).ok());
  EXPECT_EQ(InRange("n", 0, 1, 1048577).message(), "n is 0, expected 1..1048577");
  EXPECT_EQ(InRange("share", 1.5, 0, 1).message(), "share is 1.5, expected 0..1");
  EXPECT_EQ(InRange("share", NAN, 0, 1).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera
