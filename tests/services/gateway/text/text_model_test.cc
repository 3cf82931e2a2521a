#include "services/gateway/text/text_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::TempFolder;
using ::tessera::testing::TinyId;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TextModelTest : public ::testing::Test {
 protected:
  TextModelTest() { testing::WriteTinyText(testing::TinyServedSpec(512), folder_.path()); }
  std::unique_ptr<const TextModel> Load(TextModelConfig config = {}) {
    config.folder = folder_.path();
    auto model = TextModel::Load(config);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *std::move(model) : nullptr;
  }
  static ChatPrompt Conversation(const char* json) {
    const auto document = JsonDocument::Parse(json);
    ChatPrompt prompt;
    prompt.messages = *TemplateMessages(document->root());
    prompt.tools = TemplateValue::None();
    return prompt;
  }

  const TempFolder folder_;
};

TEST_F(TextModelTest, ReadsLimitsAndDefaults) {
  const auto model = Load();
  EXPECT_EQ(model->context_max(), 512u);
  EXPECT_EQ(model->vocab_size(), static_cast<uint32_t>(testing::kTinyEnd));
  EXPECT_FLOAT_EQ(model->sampling_defaults().temperature, 0.7f);
  EXPECT_TRUE(model->is_eos(testing::kTinyEos));
  EXPECT_EQ(Load({.context_max = 100})->context_max(), 100u);
  EXPECT_FLOAT_EQ(Load({.use_generation_defaults = false})->sampling_defaults().temperature, 1.0f);
}

TEST_F(TextModelTest, BeginOfTextStandsOnce) {
  const auto model = Load();
  EXPECT_THAT(*model->EncodeText("a"), ElementsAre(testing::kTinyBos, TinyId('a')));
  EXPECT_THAT(*model->EncodeText("a", false), ElementsAre(TinyId('a')));
  EXPECT_THAT(*model->EncodeText("<|begin_of_text|>a"),
              ElementsAre(testing::kTinyBos, TinyId('a')));
  EXPECT_THAT(*model->EncodeRendered("<|im_start|>a"),
              ElementsAre(testing::kTinyStart, TinyId('a')));
}

TEST_F(TextModelTest, Renders) {
  const auto model = Load();
  ChatPrompt prompt =
      Conversation(R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Well, "}])");
  EXPECT_EQ(*model->Render(prompt, absl::UnixEpoch()),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWell, <|im_end|>\n"
            "<|im_start|>assistant\n");
  prompt.continue_final_message = true;
  EXPECT_EQ(*model->Render(prompt, absl::UnixEpoch()),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWell,");
}

TEST_F(TextModelTest, WhatIsGoneOnWithMayStandInTheTurnsEndToo) {
  const auto model = Load();
  const std::string start = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
  for (const std::string text :
       {"<", "m", "|>", "im_end", "<|im_end|>", "assistant", "Hi", "a\n<", "\n x"}) {
    ValueMap user;
    user.Set("role", TemplateValue::String("user"));
    user.Set("content", TemplateValue::String("Hi"));
    ValueMap assistant;
    assistant.Set("role", TemplateValue::String("assistant"));
    assistant.Set("content", TemplateValue::String(text));
    ChatPrompt prompt;
    prompt.continue_final_message = true;
    prompt.messages = TemplateValue::List(
        {TemplateValue::Dict(std::move(user)), TemplateValue::Dict(std::move(assistant))});
    EXPECT_EQ(*model->Render(prompt, absl::UnixEpoch()), start + text);
  }
}

TEST_F(TextModelTest, AMessageThatTheTemplateHidesCannotBeGoneOnWith) {
  testing::WriteFile(folder_.File("chat_template.jinja"),
                     "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}");
  ChatPrompt prompt =
      Conversation(R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Hi"}])");
  prompt.continue_final_message = true;
  const auto text = Load()->Render(prompt, absl::UnixEpoch());
  EXPECT_THAT(text.status().message(), HasSubstr("does not show the last message"));
}

TEST_F(TextModelTest, BytesOfPartsOfCharacters) {
  const auto model = Load();
  EXPECT_EQ(model->BytesOf(TinyId('a')), "a");
  EXPECT_EQ(model->BytesOf(TinyId(' ')), " ");
  EXPECT_EQ(model->BytesOf(TinyId('\xC3')), "\xC3");
  EXPECT_EQ(model->BytesOf(testing::kTinyEos), "<|im_end|>");
}

TEST_F(TextModelTest, WithoutATemplateChatsAreRefused) {
  testing::WriteFile(folder_.File("chat_template.jinja"), "");
  const auto model = Load();
  EXPECT_EQ(model->Render(Conversation("[]"), absl::UnixEpoch()).status().code(),
            absl::StatusCode::kInvalidArgument);
  testing::WriteFile(folder_.File("tokenizer_config.json"),
                     R"({"chat_template":[{"name":"default","template":"x{{ bos_token }}"}],
                         "bos_token":{"content":"<|begin_of_text|>"}})");
  ASSERT_EQ(std::remove(folder_.File("chat_template.jinja").c_str()), 0);
  EXPECT_EQ(*Load()->Render(Conversation("[]"), absl::UnixEpoch()), "x<|begin_of_text|>");
}

TEST_F(TextModelTest, ErrorsNameTheFile) {
  const auto load = [this] { return TextModel::Load({.folder = folder_.path()}).status(); };
  testing::WriteFile(folder_.File("generation_config.json"), R"({"temperature":7})");
  EXPECT_THAT(load().message(), HasSubstr("temperature is 7"));
  testing::WriteFile(folder_.File("generation_config.json"), "{}");
  testing::WriteFile(folder_.File("chat_template.jinja"), "{% if %}");
  EXPECT_THAT(load().message(), HasSubstr("chat_template.jinja"));
  testing::WriteFile(folder_.File("chat_template.jinja"), "x");
  ModelSpec small = testing::TinyServedSpec(512);
  small.vocab = 100;
  testing::WriteFile(folder_.File("config.json"), testing::ConfigText(small));
  EXPECT_THAT(load().message(), HasSubstr("vocabulary ends at 99"));
  EXPECT_EQ(TextModel::Load({.folder = folder_.path() + "/nowhere"}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tessera::gateway
