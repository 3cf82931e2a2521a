#include "common/concurrency/snapshot.h"

#include <memory>
#include <vector>

#include "common/concurrency/thread.h"
#include "gtest/gtest.h"

namespace tessera {
namespace {

TEST(Snapshot, AReaderKeepsItsVersion) {
  Snapshot<int> snapshot(std::make_shared<const int>(1));
  const std::shared_ptr<const int> old = snapshot.Read();
  snapshot.Publish(std::make_shared<const int>(2));
  EXPECT_EQ(*old, 1);
  EXPECT_EQ(*snapshot.Read(), 2);
  EXPECT_EQ(old.use_count(), 1);
}

TEST(Snapshot, ReadersNeverSeeAHalfOrAnOlderVersion) {
  using Version = std::vector<int>;
  Snapshot<Version> snapshot(std::make_shared<const Version>(8, 0));
  bool whole = true;
  bool ascending = true;
  Thread reader("reader", [&](std::stop_token) {
    int last = 0;
    while (last < 1000) {
      const std::shared_ptr<const Version> version = snapshot.Read();
      for (const int value : *version) whole = whole && value == version->front();
      ascending = ascending && version->front() >= last;
      last = version->front();
    }
  });
  for (int i = 1; i <= 1000; ++i) snapshot.Publish(std::make_shared<const Version>(8, i));
  reader.Join();
  EXPECT_TRUE(whole);
  EXPECT_TRUE(ascending);
}

}  // namespace
}  // namespace tessera
