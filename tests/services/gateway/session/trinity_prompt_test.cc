// Begin-of-text in the prompts of Trinity models, with their own tokenizer:
//   a conversation is encoded as its template renders it: the ChatML templates of the chat models
//   write no <|begin_of_text|>, the base models' template writes one, and nothing is added
//   the text of a completion gets one, unless it begins with one; ids are sent as they are

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "services/gateway/api/request_reader.h"
#include "services/gateway/session/prepared_request.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

namespace tessera::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

constexpr TokenId kBos = 0;
constexpr TokenId kStart = 2;
constexpr TokenId kEnd = 3;
// "Hello, world!" of the tokenizers' reference cases.
const std::vector<TokenId> kHello = {14795, 43, 1117, 32};

constexpr const char* kChatMl = R"({%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %}
)";
constexpr const char* kBase =
    "{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}";

class TrinityPromptTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::filesystem::path tokenizer = std::filesystem::path(TESSERA_SOURCE_DIR) /
                                            "../shared/tokenizers" / GetParam() / "tokenizer.json";
    if (!std::filesystem::exists(tokenizer)) {
      std::cout << "SKIPPED LOUDLY: there is no " << tokenizer << '\n';
      GTEST_SKIP() << "no " << tokenizer;
    }
    std::filesystem::create_symlink(std::filesystem::canonical(tokenizer),
                                    folder_.File("tokenizer.json"));
    testing::WriteFile(folder_.File("tokenizer_config.json"),
                       R"({"bos_token":"<|begin_of_text|>","eos_token":"<|im_end|>"})");
    ModelSpec spec = testing::TinySpec();
    spec.vocab = 200192;
    spec.context_max = 4096;
    spec.bos_token_id = kBos;
    spec.eos_token_ids = {kEnd};
    testing::WriteFile(folder_.File("config.json"), testing::ConfigText(spec));
  }
  void Load(const char* chat_template) {
    testing::WriteFile(folder_.File("chat_template.jinja"), chat_template);
    auto model = TextModel::Load({.folder = folder_.path()});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }
  std::vector<TokenId> Ids(ApiDialect dialect, const std::string& body) const {
    auto request = ReadGenerationRequest(dialect, body, {});
    EXPECT_TRUE(request.ok()) << request.status();
    const auto prepared = Prepare(*std::move(request), *model_, {}, absl::UnixEpoch());
    EXPECT_TRUE(prepared.ok()) << prepared.status();
    return prepared.ok() ? prepared->prompts[0].ids : std::vector<TokenId>();
  }

  const testing::TempFolder folder_;
  std::unique_ptr<const TextModel> model_;
};

constexpr const char* kConversation = R"({"messages":[{"role":"user","content":"Hello, world!"}]})";

TEST_P(TrinityPromptTest, ChatModelsGetWhatTheirTemplateWrites) {
  Load(kChatMl);
  const std::vector<TokenId> ids = Ids(ApiDialect::kChat, kConversation);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kBos), 0);
  ASSERT_GT(ids.size(), 8u);
  EXPECT_EQ(ids.front(), kStart);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kStart), 2);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kEnd), 1);
  EXPECT_NE(std::search(ids.begin(), ids.end(), kHello.begin(), kHello.end()), ids.end());
  EXPECT_EQ(model_->tokenizer().Decode(ids),
            "<|im_start|>user\nHello, world!<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(Ids(ApiDialect::kMessages,
                R"({"max_tokens":5,"messages":[{"role":"user","content":"Hello, world!"}]})"),
            ids);
}

TEST_P(TrinityPromptTest, BaseModelsGetTheirTemplatesBeginOfTextOnce) {
  Load(kBase);
  std::vector<TokenId> expected = {kBos};
  expected.insert(expected.end(), kHello.begin(), kHello.end());
  EXPECT_THAT(Ids(ApiDialect::kChat, kConversation), ElementsAreArray(expected));
}

TEST_P(TrinityPromptTest, CompletionsBeginWithOneBeginOfText) {
  Load(kChatMl);
  std::vector<TokenId> expected = {kBos};
  expected.insert(expected.end(), kHello.begin(), kHello.end());
  EXPECT_THAT(Ids(ApiDialect::kCompletion, R"({"prompt":"Hello, world!"})"),
              ElementsAreArray(expected));
  EXPECT_THAT(Ids(ApiDialect::kCompletion, R"({"prompt":"<|begin_of_text|>Hello, world!"})"),
              ElementsAreArray(expected));
  EXPECT_THAT(Ids(ApiDialect::kCompletion, R"({"prompt":[14795,43]})"), ElementsAre(14795, 43));
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, TrinityPromptTest,
                         ::testing::Values("trinity-large-base", "trinity-large-thinking"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tessera::gateway
