// The cases a reference implementation answered for real tokenizers: they lie beside the source
// tree, not in it.

#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>

#include "common/text/incremental_detokenizer.h"
#include "common/text/tokenizer.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<TokenId>;

Ids IdsOf(const JsonValue& json) {
  Ids ids;
  for (const JsonValue id : json.elements()) ids.push_back(static_cast<TokenId>(*id.AsInteger()));
  return ids;
}

void RunCase(const Tokenizer& tokenizer, const JsonValue& json) {
  const std::string text(*json.Member("text")->AsString());
  const Ids ids = IdsOf(*json.Member("ids"));
  EXPECT_EQ(*tokenizer.Encode(text, {.add_special_tokens = false}), ids) << text;
  EXPECT_EQ(*tokenizer.Encode(text), IdsOf(*json.Member("ids_with_bos"))) << text;
  EXPECT_EQ(tokenizer.Decode(ids), *json.Member("decoded")->AsString());
  EXPECT_EQ(tokenizer.Decode(ids, {.skip_special_tokens = true}),
            *json.Member("decoded_skip_special")->AsString());
}

TEST(ReferenceCasesTest, AllTokenizers) {
  const fs::path root = fs::path(TESSERA_SOURCE_DIR) / "../shared/tokenizers";
  size_t cases = 0;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(root, missing)) {
    const fs::path expected = entry.path() / "expected.json";
    if (!fs::exists(expected)) continue;
    SCOPED_TRACE(entry.path().filename().string());
    const auto tokenizer = Tokenizer::Load((entry.path() / "tokenizer.json").string());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const auto document = JsonDocument::ReadFile(expected.string());
    ASSERT_TRUE(document.ok()) << document.status();
    for (const JsonValue json : document->root().Member("cases")->elements()) {
      RunCase(**tokenizer, json);
      ++cases;
    }
  }
  if (cases == 0) {
    std::cout << "SKIPPED LOUDLY: no */expected.json under " << root << '\n';
    GTEST_SKIP() << "no reference cases at " << root;
  }
  std::cout << cases << " cases\n";
}

}  // namespace
}  // namespace tessera
