#include "services/gateway/keys/key_set.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace tessera::gateway {
namespace {

std::string Hash(std::string_view secret) { return absl::BytesToHexString(Sha256(secret)); }

std::string Entry(std::string_view name, std::string_view secret, std::string_view more = "") {
  return absl::StrCat("{\"name\":\"", std::string(name), "\",\"sha256\":\"", Hash(secret), "\"",
                      std::string(more), "}");
}

TEST(KeySetTest, Sha256) {
  // FIPS 180-4, one block message.
  EXPECT_EQ(Hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(KeySetTest, ReadsAndFinds) {
  const auto keys = KeySet::Parse(
      "{\"keys\":[" + Entry("a", "secret-a") + "," +
      Entry("b", "secret-b",
            R"(,"models":["m"],"requests_per_minute":6,"tokens_per_minute":7,"parallel_max":8,)"
            R"("weight":2.5,"priority_min":-4,"admin":true)") +
      "]}");
  ASSERT_TRUE(keys.ok()) << keys.status();
  const ApiKey* b = keys->Find("secret-b");
  ASSERT_NE(b, nullptr);
  const ApiKey expected = {.name = "b",
                           .sha256 = Sha256("secret-b"),
                           .models = {"m"},
                           .requests_per_minute = 6,
                           .tokens_per_minute = 7,
                           .parallel_max = 8,
                           .weight = 2.5,
                           .priority_min = -4,
                           .admin = true};
  EXPECT_EQ(*b, expected);
  EXPECT_EQ(keys->Find("secret-a")->name, "a");
  EXPECT_EQ(keys->Find("secret-a")->priority_min, 0);
  EXPECT_EQ(keys->Find("secret-c"), nullptr);
  EXPECT_EQ(keys->Find(""), nullptr);
  EXPECT_EQ(keys->Find(Hash("secret-a")), nullptr);
  EXPECT_EQ(keys->Find(std::string(kSecretBytesMax + 1, 'a')), nullptr);
  EXPECT_TRUE(b->may_use("m"));
  EXPECT_FALSE(b->may_use("n"));
  EXPECT_TRUE(keys->Find("secret-a")->may_use("n"));
}

TEST(KeySetTest, Refuses) {
  const std::string good = Entry("a", "x");
  const std::string bad[] = {
      "",
      "{}",
      "[]",
      "{\"keys\":{}}",
      "{\"keys\":[1]}",
      "{\"keys\":[{}]}",
      "{\"keys\":[{\"name\":\"a\"}]}",
      "{\"keys\":[{\"sha256\":\"" + Hash("x") + "\"}]}",
      "{\"keys\":[{\"name\":\"a\",\"sha256\":\"my-secret\"}]}",
      "{\"keys\":[" + Entry("a b", "x") + "]}",
      "{\"keys\":[" + Entry("", "x") + "]}",
      "{\"keys\":[" + good + "," + Entry("a", "y") + "]}",
      "{\"keys\":[" + good + "," + Entry("b", "x") + "]}",
      "{\"keys\":[" + Entry("a", "x", ",\"weight\":0") + "]}",
      "{\"keys\":[" + Entry("a", "x", ",\"weight\":1e9") + "]}",
      "{\"keys\":[" + Entry("a", "x", ",\"admin\":1") + "]}",
      "{\"keys\":[" + Entry("a", "x", ",\"priority_min\":0.5") + "]}",
      "{\"keys\":[" + Entry("a", "x", ",\"priority_min\":-3000000000") + "]}",
      "{\"keys\":[" + Entry("a", "x", ",\"models\":[]") + "]}",
      "{\"keys\":[" + Entry("a", "x", ",\"parallel_max\":-1") + "]}",
      "{\"keys\":[" + Entry("a", "x", ",\"requests_per_min\":1") + "]}",
      "{\"keys\":[],\"version\":1}",
  };
  for (const std::string& text : bad) {
    const auto keys = KeySet::Parse(text);
    EXPECT_EQ(keys.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(keys.status().message().find("my-secret"), std::string::npos);
  }
}

TEST(KeySetTest, ConstantTimeCompare) {
  EXPECT_TRUE(EqualInConstantTime("abc", "abc"));
  EXPECT_TRUE(EqualInConstantTime("", ""));
  EXPECT_FALSE(EqualInConstantTime("abc", "abd"));
  EXPECT_FALSE(EqualInConstantTime("abc", "abcd"));
}

TEST(KeySetTest, PresentedSecret) {
  EXPECT_EQ(PresentedSecret("Bearer abc", ""), "abc");
  EXPECT_EQ(PresentedSecret("  bEARER   abc ", "x"), "abc");
  EXPECT_EQ(PresentedSecret("", "x"), "x");
  EXPECT_EQ(PresentedSecret("Basic abc", "x"), "x");
  EXPECT_EQ(PresentedSecret("Bearer", ""), "");
  EXPECT_EQ(PresentedSecret("Bearerabc", ""), "");
  EXPECT_EQ(PresentedSecret("", ""), "");
}

}  // namespace
}  // namespace tessera::gateway
