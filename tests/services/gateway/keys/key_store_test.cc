#include "services/gateway/keys/key_store.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/escaping.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_folder.h"

namespace tessera::gateway {
namespace {

class KeyStoreTest : public ::testing::Test {
 protected:
  // By rename, as a careful operator or a mounted secret does it.
  void Put(const std::string& text) {
    const std::string next = path_ + ".next";
    std::ofstream(next) << text;
    ASSERT_EQ(std::rename(next.c_str(), path_.c_str()), 0);
  }
  static std::string KeysOf(const std::string& secret) {
    return "{\"keys\":[{\"name\":\"a\",\"sha256\":\"" + absl::BytesToHexString(Sha256(secret)) +
           "\"}]}";
  }

  testing::TempFolder folder_;
  const std::string path_ = folder_.path() + "/keys.json";
  const KeyStoreConfig config_ = {.path = path_, .poll_interval = absl::Seconds(2)};
  FakeClock clock_;
};

TEST_F(KeyStoreTest, OpensOrSaysWhyNot) {
  EXPECT_EQ(KeyStore::Open(config_, clock_).status().code(), absl::StatusCode::kNotFound);
  Put("{");
  EXPECT_EQ(KeyStore::Open(config_, clock_).status().code(), absl::StatusCode::kInvalidArgument);
  Put(KeysOf("x"));
  EXPECT_TRUE(KeyStore::Open(config_, clock_).ok());
}

TEST_F(KeyStoreTest, TakesChangesOverAndKeepsTheLastGoodKeys) {
  Put(KeysOf("first"));
  const auto store = KeyStore::Open(config_, clock_);
  ASSERT_TRUE(store.ok()) << store.status();
  const auto first = (*store)->Snapshot();
  Put(KeysOf("second, longer"));
  EXPECT_NE((*store)->Snapshot()->Find("first"), nullptr);  // not yet looked at
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ((*store)->Snapshot()->Find("first"), nullptr);
  EXPECT_NE((*store)->Snapshot()->Find("second, longer"), nullptr);
  EXPECT_NE(first->Find("first"), nullptr);  // a snapshot stays
  EXPECT_EQ((*store)->reload_count(), 1u);

  Put("broken");
  clock_.Advance(absl::Seconds(2));
  EXPECT_NE((*store)->Snapshot()->Find("second, longer"), nullptr);
  EXPECT_EQ((*store)->reload_failure_count(), 1u);
  clock_.Advance(absl::Seconds(2));
  EXPECT_NE((*store)->Snapshot()->Find("second, longer"), nullptr);
  EXPECT_EQ((*store)->reload_failure_count(), 1u);  // one change, one failure

  ASSERT_EQ(std::remove(path_.c_str()), 0);
  clock_.Advance(absl::Seconds(2));
  EXPECT_NE((*store)->Snapshot()->Find("second, longer"), nullptr);
  EXPECT_EQ((*store)->reload_failure_count(), 2u);
  Put(KeysOf("third"));
  clock_.Advance(absl::Seconds(2));
  EXPECT_NE((*store)->Snapshot()->Find("third"), nullptr);
}

}  // namespace
}  // namespace tessera::gateway
